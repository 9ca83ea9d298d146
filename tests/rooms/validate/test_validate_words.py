"""An invariant in the programme's words: the code, the rule and four languages that a profile has no room for."""

from __future__ import annotations

from pathlib import Path

import pytest
from instances_validate import change
from test_validate_rulebook import CHECKS, STAY, context, entry, item, made

from gateway.errors import Misconfigured, text
from gateway.message import LANGUAGES

WORDS = (
    CHECKS
    + """
- code: T-003
  severity: warning
  rule: R-3
  invariant: per-1
  text: {en: "Ends too early.", fa: "زود تمام می‌شود.", it: "Finisce prima.", zh: "结束过早。"}
  mend: {en: "Look.", fa: "ببینید.", it: "Verificare.", zh: "请核对。"}
"""
)


def test_a_broken_invariant_is_said_in_the_programmes_words(tmp_path: Path) -> None:
    """Once, with the programme's code, rule and severity, where the invariant was broken."""
    stay = change(STAY, "period", {"start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z"})
    told = made(tmp_path, WORDS).findings(item(stay), context(c1=entry("c1")))
    (found,) = [each for each in told if "period" in (each.location or "")]
    assert (found.code, found.severity, found.source, found.location) == ("T-003", "warning", "R-3", "Encounter.period")
    assert len({text(found, language) for language in LANGUAGES}) == 4
    plain = made(tmp_path, CHECKS).findings(item(stay), context(c1=entry("c1")))
    assert [each.code for each in plain if "period" in (each.location or "")] == ["GW-VAL-015"]


def test_words_beside_a_test_of_their_own_are_refused(tmp_path: Path) -> None:
    """Either an entry words an invariant or it is a check: a file that says both says nothing."""
    with pytest.raises(Misconfigured) as caught:
        made(tmp_path, WORDS.replace("  invariant: per-1\n", "  invariant: per-1\n  on: Encounter\n"))
    assert "invariant" in caught.value.args_["detail"]
