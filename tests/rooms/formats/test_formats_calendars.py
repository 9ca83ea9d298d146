"""Dates and times: two calendars, three zones with their past, precision kept, the impossible told."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Misconfigured
from gateway.formats import calendars
from gateway.formats.problem import Problem


@pytest.mark.parametrize("text", ["1399/08/01", "1399-8-1", "13990801", "۱۳۹۹/۰۸/۰۱", "١٣٩٩/٠٨/٠١", " 1399.08.01 "])
def test_one_jalali_day_in_many_hands(text: str) -> None:
    """The first day of validity of the programme that began it all: a Thursday."""
    day = calendars.parse(text, "jalali")
    assert isinstance(day, calendars.Day)
    assert (day.text, day.exact, day.first.weekday()) == ("2020-10-22", True, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1399/12/30", "2021-03-20"),
        ("1380/11/27", "2002-02-16"),
        ("1396/01/01", "2017-03-21"),
        ("1396/12/29", "2018-03-20"),
    ],
)
def test_known_days(text: str, expected: str) -> None:
    """Days that are in the public sources."""
    day = calendars.parse(text, "jalali")
    assert isinstance(day, calendars.Day)
    assert day.text == expected


def test_a_jalali_month_or_year_is_no_gregorian_one() -> None:
    """It is a period; FHIR's partial date would say something else."""
    month, year = calendars.parse("1399/08", "jalali"), calendars.parse("1399", "jalali")
    assert isinstance(month, calendars.Day)
    assert isinstance(year, calendars.Day)
    assert (month.text, month.first, month.last) == ("", date(2020, 10, 22), date(2020, 11, 20))
    assert (year.text, year.first, year.last) == ("", date(2020, 3, 20), date(2021, 3, 20))


@pytest.mark.parametrize(
    ("text", "calendar", "order", "expected"),
    [
        ("2020-10-22", "gregorian", "ymd", "2020-10-22"),
        ("20201022", "gregorian", "ymd", "2020-10-22"),
        ("22/10/2020", "gregorian", "dmy", "2020-10-22"),
        ("10/22/2020", "gregorian", "mdy", "2020-10-22"),
        ("10/2020", "gregorian", "dmy", "2020-10"),
        ("2020", "gregorian", "ymd", "2020"),
        ("２０２０年", "gregorian", "ymd", "GW-FMT-091"),
        ("1399/12/30", "gregorian", "ymd", "GW-FMT-092"),
        ("2020/10/22", "jalali", "ymd", "GW-FMT-092"),
        ("1400/12/30", "jalali", "ymd", "GW-FMT-090"),
        ("1399/07/31", "jalali", "ymd", "GW-FMT-090"),
        ("1399/13/01", "jalali", "ymd", "GW-FMT-090"),
        ("2021-02-29", "gregorian", "ymd", "GW-FMT-090"),
        ("22/10/2020", "gregorian", "ymd", "GW-FMT-091"),
        ("99/08/01", "jalali", "ymd", "GW-FMT-091"),
        ("1399/080/1", "jalali", "ymd", "GW-FMT-091"),
        ("", "jalali", "ymd", "GW-FMT-091"),
        ("امروز", "jalali", "ymd", "GW-FMT-091"),
    ],
)
def test_dates_are_read_or_told_why_not(
    text: str, calendar: calendars.Calendar, order: calendars.Order, expected: str
) -> None:
    """No century, no order and no calendar is guessed."""
    made = calendars.parse(text, calendar, order)
    assert (made.code if isinstance(made, Problem) else made.text) == expected


@given(st.dates(date(1922, 1, 1), date(2120, 1, 1)))
def test_both_calendars_agree_on_every_day(day: date) -> None:
    """There and back is the same day, and the next day is the next day."""
    read = calendars.parse(calendars.jalali_text(day), "jalali")
    assert isinstance(read, calendars.Day)
    assert read.first == day
    assert calendars.to_jalali(day) < calendars.to_jalali(day + timedelta(days=1))


@given(st.dates(date(1922, 1, 1), date(2120, 1, 1)))
def test_jalali_quarters_hold_their_days(day: date) -> None:
    """Reports are made by quarter; every day is in one, and it begins on the first of a month."""
    quarter = calendars.jalali_quarter(day)
    assert quarter.first <= day <= quarter.last
    assert calendars.to_jalali(quarter.first)[2] == 1
    assert calendars.to_jalali(quarter.last + timedelta(days=1))[2] == 1


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2020", "Asia/Tehran", "2020"),
        ("202010", "Asia/Tehran", "2020-10"),
        ("20201022", "Asia/Tehran", "2020-10-22"),
        ("2020102210", "Asia/Tehran", "2020-10-22T10:00:00+03:30"),
        ("202007221030", "Asia/Tehran", "2020-07-22T10:30:00+04:30"),
        ("202307221030", "Asia/Tehran", "2023-07-22T10:30:00+03:30"),
        ("19780722103000", "Asia/Tehran", "1978-07-22T10:30:00+05:00"),
        ("20200722103000", "Europe/Rome", "2020-07-22T10:30:00+02:00"),
        ("19750722103000", "Europe/Rome", "1975-07-22T10:30:00+02:00"),
        ("19880722103000", "Asia/Shanghai", "1988-07-22T10:30:00+09:00"),
        ("20200722103000", "Asia/Shanghai", "2020-07-22T10:30:00+08:00"),
        ("20201022103000.1250+0100", "Asia/Tehran", "2020-10-22T10:30:00.1250+01:00"),
        ("2020-10-22T10:30:05Z", "Asia/Tehran", "2020-10-22T10:30:05+00:00"),
        ("2020-10-22 10:30", "Asia/Tehran", "2020-10-22T10:30:00+03:30"),
        ("20210322003000", "Asia/Tehran", "GW-FMT-094"),
        ("20200329023000", "Europe/Rome", "GW-FMT-094"),
        ("20201322", "Asia/Tehran", "GW-FMT-090"),
        ("20200230", "Asia/Tehran", "GW-FMT-090"),
        ("20200101250000", "Asia/Tehran", "GW-FMT-090"),
        ("20200101100000+2500", "Asia/Tehran", "GW-FMT-090"),
        ("00000101", "Asia/Tehran", "GW-FMT-090"),
        ("2020-1-1", "Asia/Tehran", "GW-FMT-093"),
        ("20200101+0100", "Asia/Tehran", "GW-FMT-093"),
        ("soon", "Asia/Tehran", "GW-FMT-093"),
    ],
)
def test_stamps_become_fhir_at_their_precision(text: str, zone: str, expected: str) -> None:
    """By the law of that day: Iran's summer time ended in 2022, China's in 1991."""
    made = calendars.stamp(text)
    out = made if isinstance(made, Problem) else calendars.fhir_datetime(made, zone)
    assert (out.code if isinstance(out, Problem) else out) == expected


def test_an_instant_needs_its_seconds() -> None:
    """FHIR `instant` from a minute would claim what was not told."""
    minute, second = calendars.stamp("202010221030"), calendars.stamp("20201022103000")
    assert isinstance(minute, calendars.Stamp)
    assert isinstance(second, calendars.Stamp)
    refused = calendars.fhir_instant(minute, "Asia/Tehran")
    assert isinstance(refused, Problem)
    assert refused.finding().code == "GW-FMT-095"
    assert calendars.fhir_instant(second, "Asia/Tehran") == "2020-10-22T10:30:00+03:30"


@given(st.datetimes(datetime(1950, 1, 1), datetime(2060, 1, 1)), st.sampled_from(["Asia/Tehran", "Europe/Rome"]))  # noqa: DTZ001
def test_every_local_time_has_an_offset_or_does_not_exist(at: datetime, zone: str) -> None:
    """The written text, read back, is the same moment on the same clock."""
    made = calendars.stamp(at.strftime("%Y%m%d%H%M%S"))
    assert isinstance(made, calendars.Stamp)
    out = calendars.fhir_datetime(made, zone)
    if isinstance(out, str):
        again = datetime.fromisoformat(out)
        assert again.replace(tzinfo=None) == at.replace(microsecond=0)
        assert again.astimezone(calendars.zone(zone)).replace(tzinfo=None) == at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("text", "expected"), [("1030", "10:30:00"), ("10:30:05", "10:30:05"), ("103005.5", "10:30:05.5")]
)
def test_times(text: str, expected: str) -> None:
    """HL7 TM and clock texts."""
    assert calendars.fhir_time(text) == expected


def test_impossible_times_and_unknown_zones_are_told() -> None:
    """The first is the sender's fault, the second the operator's."""
    assert isinstance(calendars.fhir_time("2460"), Problem)
    assert isinstance(calendars.fhir_time("x"), Problem)
    with pytest.raises(Misconfigured):
        calendars.zone("Asia/Atlantis")
