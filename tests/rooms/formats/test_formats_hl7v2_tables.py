"""The tables of every version: every structure accepts what its own grammar makes, every segment can be checked."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from gateway.formats import hl7v2
from gateway.formats.hl7v2_conformance import check
from gateway.formats.hl7v2_structure import Structure
from gateway.formats.hl7v2_tables import VERSIONS, version


def _sentence(reference: Any, source: random.Random, rich: int) -> list[str]:
    """A run of segments that the structure allows: the least one, or a random one."""
    kind, children = reference[0], reference[1]
    if kind == "choice":
        return _part(source.choice(children), source, rich) if children else []
    out: list[str] = []
    for child in children:
        least, most = child[2]
        count = source.randint(least, most if most > 0 else least + 2) if rich > 0 else least
        for _ in range(count):
            out += _part(child, source, rich)
    return out


def _part(child: Any, source: random.Random, rich: int) -> list[str]:
    return [child[0]] if child[3] == "SEG" or child[1] is None else _sentence(child[1], source, rich - 1)


def _pattern(reference: Any) -> str:
    """The same grammar as a regular expression over names: a second opinion that shares no code."""
    parts = []
    for name, inner, (least, most), kind in reference[1]:
        one = f"{name} " if kind == "SEG" or inner is None else _pattern(inner)
        parts.append(f"(?:{one}){{{least},{most if most > 0 else ''}}}")
    return f"(?:{('|' if reference[0] == 'choice' else '').join(parts)})"


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_every_structure_accepts_its_own_sentences(name: str) -> None:
    """Also those with choice groups, ambiguous repetitions and "any segment", which other matchers refuse."""
    tables = version(name)
    assert tables is not None
    for structure, reference in tables._module.MESSAGES.items():
        compiled = Structure(structure, reference)
        for seed in range(3):
            sentence = _sentence(reference, random.Random(f"{structure} {seed}"), seed * 2)
            if 0 < len(sentence) < 300:
                assert compiled.check(sentence) == [], (structure, sentence)


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_a_lost_segment_is_missed_exactly_where_it_was_required(name: str) -> None:
    """Take one segment out of the least sentence: the automaton and the second opinion agree on every rest."""
    tables = version(name)
    assert tables is not None
    for structure, reference in tables._module.MESSAGES.items():
        compiled = Structure(structure, reference)
        if "ANYHL7SEGMENT" in compiled.segments:
            continue
        pattern = re.compile(_pattern(reference))
        least = _sentence(reference, random.Random(structure), 0)
        for index, lost in enumerate(least):
            rest = least[:index] + least[index + 1 :]
            allowed = pattern.fullmatch("".join(f"{segment} " for segment in rest)) is not None
            assert (compiled.check(rest) == []) == allowed, (structure, lost, rest)


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_every_segment_of_every_version_can_be_checked(name: str) -> None:
    """The data has its own faults; none of them may stop a message."""
    tables = version(name)
    assert tables is not None
    for segment in tables._module.SEGMENTS:
        if len(segment) != 3 or segment in ("MSH", "FHS", "BHS"):
            continue
        line = f"{segment}|" + "|".join(["a^b&c^d~e"] * 60)
        body = f"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|{name}\r{line}\r"
        assert check(hl7v2.read(body.encode()))
