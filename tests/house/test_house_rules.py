"""Each policy's rules, one line a rule in `docs/rules/<programme>.md`: where it lives and what proves it.

The table and the house are kept equal in both directions: what the table names must exist and must name the rule,
and every check and measure that names a rule must stand in the rule's line.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = {
    "sepas": [f"A-{n:02}" for n in range(1, 41)],
    "behzisti": [f"B-{n:02}" for n in range(1, 106)],
    "toscana": [f"R{n:02}" for n in range(1, 76)] + [f"X{n}" for n in range(1, 21)],
    "chongqing": [
        f"SF-{n:02}{letter}" for n in range(1, 74) for letter in (["", "a", "b", "c", "d"] if n == 23 else [""])
    ],
}
DATA_KINDS = "mapping table layout template route case schedule"
KINDS = frozenset(f"check profile valueset measure view {DATA_KINDS} setting code doc none".split())


class Line:
    """One rule's line."""

    def __init__(self, rule: str, says: str, where: str, proof: str) -> None:
        self.rule, self.says = rule, says
        self.where = [tuple(each.strip().partition(" ")[::2]) for each in _parts(where)]
        self.proof = _parts(proof)


def _parts(cell: str) -> list[str]:
    if cell.startswith("none:"):  # a sentence, which may have its own semicolons
        return [cell.replace("none:", "none ", 1)]
    return [each.strip().strip("`") for each in cell.split(";") if each.strip(" –-")]


@functools.cache
def table(programme: str) -> list[Line]:
    text = (ROOT / "docs" / "rules" / f"{programme}.md").read_text(encoding="utf-8")
    lines = []
    for row in text.splitlines():
        cells = [each.strip() for each in re.split(r"(?<!\\)\|", row.strip())[1:-1]]
        if len(cells) == 4 and re.fullmatch(r"[A-Z]+-?\d+[a-d]?", cells[0]):
            lines.append(Line(*cells))
    return lines


@functools.cache
def checks(programme: str) -> dict[str, set[str]]:
    """Each check's code and the rules that it names."""
    found = yaml.safe_load((ROOT / "mappings" / programme / "checks.yaml").read_text(encoding="utf-8"))
    return {each["code"]: _rules(each.get("rule", "")) for each in found}


def _rules(said: Any) -> set[str]:
    return set(said) if isinstance(said, list) else set(re.findall(r"[A-Z]+-?\d+[a-d]?", str(said)))


@functools.cache
def measures(programme: str) -> dict[str, set[str]]:
    folder = ROOT / "profiles" / programme / "measures"
    named = {}
    for path in sorted(folder.glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        if "sql" in data:
            named[data.get("name", path.stem)] = _rules(data.get("rule", ""))
    return named


@functools.cache
def plan(programme: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "mappings" / programme / "programme.toml").read_text(encoding="utf-8"))


@functools.cache
def conformance(programme: str, kind: str) -> dict[str, set[str]]:
    """Resources of that type by id, with the keys of the invariants that they declare."""
    found = {}
    for path in (ROOT / "profiles" / programme).glob(f"{kind}-*.json"):
        resource = json.loads(path.read_text(encoding="utf-8"))
        elements = resource.get("differential", {}).get("element", [])
        found[resource["id"]] = {each["key"] for element in elements for each in element.get("constraint", [])}
    return found


@functools.cache
def functions_in(path: str) -> set[str]:
    file = ROOT / path
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def _keys(entries: list[dict[str, Any]], key: str) -> set[str]:
    return {each[key] for each in entries if key in each}


def fault(programme: str, rule: str, kind: str, name: str) -> str | None:
    """What is wrong with one entry of `where`, or nothing."""
    data = ROOT / "mappings" / programme
    if kind == "check":
        if name not in checks(programme):
            return "no such check"
        return None if rule in checks(programme)[name] else f"the check names {sorted(checks(programme)[name])}"
    if kind == "measure":
        if name not in measures(programme):
            return "no such measure"
        return None if rule in measures(programme)[name] else f"the measure names {sorted(measures(programme)[name])}"
    if kind == "profile":
        id, _, key = name.partition("#")
        known = conformance(programme, "StructureDefinition")
        return None if id in known and (not key or key in known[id]) else "no such profile or invariant"
    if kind == "doc":
        return None if (ROOT / name.partition("#")[0]).is_file() else "no such page"
    there = {
        "valueset": lambda: name in conformance(programme, "ValueSet"),
        "view": lambda: (ROOT / "profiles" / programme / "views" / f"{name}.json").is_file(),
        "mapping": lambda: (data / name).is_file(),
        "table": lambda: (data / name).is_file(),
        "layout": lambda: (data / name).is_file() or (data / "layouts" / name).is_file(),
        "template": lambda: (data / name).is_file(),
        "route": lambda: name in _keys(plan(programme)["route"], "destination"),
        "case": lambda: name in _keys(plan(programme)["case"], "kind"),
        "schedule": lambda: name in _keys(plan(programme).get("schedule", []), "name"),
        "setting": lambda: f"`{name}`" in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"),
        "code": lambda: (ROOT / name).is_file() and name.startswith("gateway/"),
        "none": lambda: len(name.split()) >= 4,
    }
    return None if there[kind]() else f"no such {kind}"


@pytest.mark.parametrize("programme", RULES)
def test_every_rule_of_the_policy_has_its_line_in_order(programme: str) -> None:
    """A rule that is not in the table was forgotten, not decided."""
    assert [line.rule for line in table(programme)] == RULES[programme]


@pytest.mark.parametrize("programme", RULES)
def test_what_a_line_names_exists_and_names_the_rule(programme: str) -> None:
    """Check, profile, measure, route …: a reader can follow the table into the house."""
    wrong = []
    for line in table(programme):
        if not line.where or not line.says:
            wrong.append(f"{line.rule}: an empty cell")
        for kind, name in line.where:
            said = fault(programme, line.rule, kind, name) if kind in KINDS else "no such kind of place"
            if said:
                wrong.append(f"{line.rule}: {kind} {name}: {said}")
    assert wrong == []


@pytest.mark.parametrize("programme", RULES)
def test_every_line_is_proven_by_tests_that_exist_or_says_why_none_can_be(programme: str) -> None:
    """Proof may be left out only where the whole line says that a gateway cannot enforce the rule."""
    wrong = []
    for line in table(programme):
        if not line.proof and any(kind != "none" for kind, _ in line.where):
            wrong.append(f"{line.rule}: no proof")
        for each in line.proof:
            path, _, name = each.partition("::")
            if name.partition("[")[0] not in functions_in(path):
                wrong.append(f"{line.rule}: {each} is not a test")
    assert wrong == []


@pytest.mark.parametrize("programme", RULES)
def test_every_check_and_measure_stands_in_the_line_of_its_rule(programme: str) -> None:
    """The other direction: nothing enforces a rule that the table does not show."""
    shown = {(line.rule, kind, name) for line in table(programme) for kind, name in line.where}
    said = {(rule, "check", code) for code, rules in checks(programme).items() for rule in rules}
    said |= {(rule, "measure", name) for name, rules in measures(programme).items() for rule in rules}
    known = set(RULES[programme])
    assert sorted(each for each in said - shown if each[0] in known) == []
    assert sorted(each for each in said if each[0] not in known) == []
