"""Two destinations of one programme: in both, only in one, different; every case is counted once."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.commands.reconcile import Case, compare, month_of, summed


def case(id: str, taken: str | None = "v1", month: str = "1399-08", **account: Any) -> Case:
    return Case(id, "centre-1", month, f"key-{id}", taken, {"key": f"key-{id}", "total": 100, **account})


def fates(first: list[Case], second: list[Case], one: Any = None, other: Any = None) -> dict[str, str]:
    lines = compare({c.id: c for c in first}, {c.id: c for c in second}, one, other)
    return {line["key"]: line["fate"] for line in lines}


def test_by_what_they_answered() -> None:
    """Delivered to both in one version, in two versions, to one of them, to none of them yet."""
    first = [case("a"), case("b", "v2"), case("c"), case("e", None)]
    second = [case("a"), case("b", "v1"), case("d"), case("e", None)]
    assert fates(first, second) == {
        "key-a": "both",
        "key-b": "different",
        "key-c": "only_first",
        "key-d": "only_second",
        "key-e": "neither",
    }


def test_a_list_of_the_destination_goes_before_what_it_answered() -> None:
    """A receipt says that it was taken; the list says whether it is still there, and with which amount."""
    ours = [case("a"), case("b"), case("c")]
    theirs = {
        "key-a": {"key": "key-a", "total": "100.00"},
        "key-b": {"key": "key-b", "total": "90"},
        "key-x": {"key": "key-x", "centre": "centre-9", "month": "1399-09"},
    }
    assert fates(ours, ours, other=theirs) == {
        "key-a": "both",
        "key-b": "different",
        "key-c": "only_first",
        "key-x": "only_second",
    }


def test_sums_count_each_case_in_its_centre_and_month() -> None:
    """Nothing is counted twice, and nothing is left out."""
    lines = list(compare({c.id: c for c in (case("a"), case("b", month="1399-09"))}, {"a": case("a")}, None, None))
    sums = summed(lines)
    assert [(s["centre"], s["month"], s["both"], s["only_first"]) for s in sums] == [
        ("centre-1", "1399-08", 1, 0),
        ("centre-1", "1399-09", 0, 1),
    ]


@pytest.mark.parametrize(
    ("day", "calendar", "month"),
    [
        ("2020-10-22", "jalali", "1399-08"),
        ("2020-10-21T23:59:00+03:30", "jalali", "1399-07"),
        ("2021-03-20", "jalali", "1399-12"),
        ("2020-10-22", "gregorian", "2020-10"),
        ("", "jalali", "unknown"),
    ],
)
def test_a_month_is_one_of_the_calendar(day: str, calendar: str, month: str) -> None:
    """In Iran a month is a Jalali one."""
    assert month_of(day, calendar) == month
