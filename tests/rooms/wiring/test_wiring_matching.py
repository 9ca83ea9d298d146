"""Tumours of one person are told apart as registries do it, and nobody decides for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import matching
from gateway.formats import ranges

FOLDER = Path(__file__).parents[3] / "mappings" / "sepas" / "ranges"
PERSON = {"NationalCode": "0012345679", "Surname": "آزمایشی", "BirthDate": "1960-01-01"}


def plan() -> matching.Plan:
    sites, _ = ranges.load(FOLDER / "tumour-site-group.csv")
    morphologies, _ = ranges.load(FOLDER / "tumour-morphology-group.csv")
    person = (("NationalCode",), ("Surname", "BirthDate"))
    return matching.Plan(person, "TumourID", "Topography", "Morphology", sites, morphologies)


def row(id: str, site: str, morphology: str, **more: str) -> dict[str, object]:
    return {**PERSON, "TumourID": id, "Topography": site, "Morphology": morphology, **more}


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (("504", "8500"), ("C50.9", "8520"), "duplicate"),  # one breast, one group of adenocarcinomas
        (("180", "8140"), ("209", "8140"), "multiple-primary"),  # colon and rectum are two sites
        (("199", "8140"), ("209", "8140"), "duplicate"),  # rectosigmoid and rectum are one
        (("341", "8070"), ("349", "8140"), "multiple-primary"),  # one lung, two histologies
        (("341", "8010"), ("349", "8140"), "duplicate"),  # carcinoma not further specified
        (("341", "8000"), ("349", "8800"), "duplicate"),  # unspecified at all
        (("421", "9861"), ("421", "9895"), "duplicate"),  # myeloid: one in a lifetime
        (("772", "9680"), ("169", "9699"), "duplicate"),  # B cells: whatever the site
        (("772", "9650"), ("772", "9680"), "multiple-primary"),  # Hodgkin and B cells
        (("443", "9140"), ("060", "9140"), "duplicate"),  # Kaposi
        (("809", "8140"), ("349", "8140"), "unclear"),  # the site of one is not known
        (("341", "7777"), ("349", "8140"), "unclear"),  # no such morphology
    ],
)
def test_the_international_rules_for_multiple_primaries(
    one: tuple[str, str], other: tuple[str, str], kind: str
) -> None:
    """The same tumour counted twice, or two counted once, both falsify a registry."""
    pair = list(matching.pairs([row("a", *one), row("b", *other)], plan()))
    assert [(each.kind, each.first, each.second) for each in pair] == [(kind, "a", "b")]
    assert matching.compare(row("b", *other), row("a", *one), plan()) == kind, "in either order"


def test_a_person_is_the_same_by_any_of_the_sets_of_fields() -> None:
    """Without a national code name and birth date tell; forms of letters do not count."""
    rows = [
        row("a", "504", "8500"),
        row("b", "504", "8500", NationalCode="", Surname="آزمايشي"),  # Arabic letters
        row("c", "504", "8500", NationalCode="", Surname=""),
        row("d", "504", "8500", NationalCode="1", Surname="دیگر"),
    ]
    found = [(each.first, each.second, each.by) for each in matching.pairs(rows, plan())]
    assert found == [("a", "b", "Surname BirthDate")]


def test_a_row_is_not_compared_with_itself() -> None:
    """The same tumour in two versions of a document is one row of the registry."""
    assert list(matching.pairs([row("a", "504", "8500"), row("a", "504", "8500")], plan())) == []
