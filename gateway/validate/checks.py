"""A programme's own checks: `mappings/<programme>/checks.yaml`, FHIRPath over the resources that mapping made.

A list of entries:

    - code: SEP-101                 # permanent, shown to the sender
      severity: error               # error, warning or information
      rule: A-12                    # the source's number
      on: Encounter                 # resource type
      when: status = 'finished'     # optional guard
      fhirpath: period.end.exists() # must be true; empty counts as failed
      at: period                    # optional element, for the place
      text: {en: …, fa: …, it: …, zh: …}
      mend: {en: …, fa: …, it: …, zh: …}

In place of `fhirpath` an entry may test several values by a table of ranges: `table`, `match` and `among`, see
`crosstable.py`.

An entry may instead name an invariant of the programme's profiles (`invariant: KEY` in place of `on`, `when` and
`fhirpath`): a finding of that invariant then has the entry's code, rule and words, which a profile cannot have in four
languages.

Expressions may use `lookup(kind, key)` and `lookup(kind, key, date)` over the recorded registry, `%now` and
`today()` of the recorded clock, `resolve()` among the item's resources, and `%item` for all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

import msgspec

from gateway import fhirpath
from gateway.errors import Misconfigured, finding
from gateway.fhirpath import Environment, FhirPathError
from gateway.formats import ranges
from gateway.formats import yaml as yaml_files
from gateway.message import LANGUAGES, Context, Finding, ItemResult, Json, Severity
from gateway.validate import reference, references
from gateway.validate.bindings import answer_coding
from gateway.validate.crosstable import Among, Values, Years
from gateway.validate.lineage import place_of
from gateway.validate.reference import Reference
from gateway.validate.references import Index
from gateway.validate.run import Policy, Run

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules

_KEYS: Final = frozenset({"code", "severity", "rule", "on", "when", "fhirpath", "at", "text", "mend", "invariant"}) | {
    "table",
    "match",
    "among",
}
_BROKEN: Final = "GW-VAL-015"  # an invariant that does not hold
_PLAIN: Final = re.compile(r"[A-Za-z][\w]*(?:\[\d+\])?(?:\.[A-Za-z]\w*(?:\[\d+\])?)*")
Compiled = fhirpath.Compiled


class Check(msgspec.Struct, frozen=True):
    """One entry, compiled."""

    code: str
    severity: Severity
    rule: str
    on: str
    when: Compiled | None
    test: Compiled | Among
    at: str
    where: Compiled | None
    text: Mapping[str, str]
    mend: Mapping[str, str]


class Wording(msgspec.Struct, frozen=True):
    """An entry that only words an invariant."""

    code: str
    severity: Severity
    rule: str
    invariant: str
    at: str
    text: Mapping[str, str]
    mend: Mapping[str, str]


class Checks:
    """The checks of one programme."""

    def __init__(
        self, checks: tuple[Check, ...], digest: str, words: tuple[Wording, ...] = (), own: Reference | None = None
    ) -> None:
        self.digest, self.own = digest, own or {}
        self.words = {each.invariant: each for each in words}
        self.by_type: dict[str, list[Check]] = {}
        for each in checks:
            self.by_type.setdefault(each.on, []).append(each)

    def __len__(self) -> int:
        return sum(map(len, self.by_type.values())) + len(self.words)

    def worded(self, found: Finding, resource: Json, result: ItemResult) -> Finding:
        """The finding in the programme's own words, where it is of an invariant that has some."""
        words = self.words.get(found.source or "") if found.code == _BROKEN else None
        if words is None:
            return found
        at = f".{words.at}" if words.at and found.location == resource.get("resourceType") else ""
        location = f"{found.location}{at}"
        return Finding(
            code=words.code,
            severity=words.severity,
            place=place_of(location, resource, result.lineage) or found.place,
            location=location,
            source=words.rule,
            text=words.text,
            mend=words.mend,
            issue="business-rule",
        )

    def findings(self, rules: Rules, result: ItemResult, context: Context, index: Index) -> list[Finding]:
        """Every check that fails on the item's resources, with the sender's place."""
        found: list[Finding] = []
        tables = lookup(context, self.own)
        for resource in result.resources:
            checks = self.by_type.get(str(resource.get("resourceType")), ())
            if not checks:
                continue
            values = Values(resource, _environment(rules, resource, result, index, context, tables))
            for check in checks:
                said = _judge(check, values)
                if said is not None:
                    place = place_of(said.location, resource, result.lineage)
                    found.append(msgspec.structs.replace(said, place=place) if place is not None else said)
        return found


def _environment(
    rules: Rules, resource: Json, result: ItemResult, index: Index, context: Context, tables: Callable[..., Any]
) -> Environment:
    run = Run(rules, resource, Policy())
    run.index = index
    return Environment(
        resource=resource,
        root_resource=resource,
        variables={"item": list(result.resources)},
        now=context.now,
        resolve=lambda reference: references.resolve(run, reference),
        member_of=lambda value, url: _member(value, url, run),
        lookup=tables,
    )


def _member(value: Any, url: str, run: Run) -> bool | None:
    if type(value) is str:
        return _TRUTH[run.rules.terminology.member(url, None, value)]
    codings = value.get("coding", [value]) if type(value) is dict else []
    answers = [answer_coding(url, each, run) for each in codings if type(each) is dict]
    return True if "yes" in answers else None if "cannot" in answers else False


_TRUTH: Final[Mapping[str, bool | None]] = {"yes": True, "no": False, "cannot": None}


def _judge(check: Check, values: Values) -> Finding | None:
    resource, env, test = values.resource, values.env, check.test
    try:
        if check.when is not None and check.when.boolean(resource, env) is not True:
            return None
        if test.holds(values) if isinstance(test, Among) else test.boolean(resource, env) is True:
            return None
        location = _location(check, resource, env)
    except FhirPathError:
        return finding("GW-VAL-070", check=check.code)
    return Finding(
        code=check.code,
        severity=check.severity,
        location=location,
        source=check.rule,
        text=check.text,
        mend=check.mend,
        issue="business-rule",
    )


def _location(check: Check, resource: Json, env: Environment) -> str:
    if check.where is None:
        return f"{check.on}.{check.at}" if check.at else check.on
    for node in check.where.nodes(resource, env):
        fields = getattr(node, "fields", None)
        way = None if fields is None else _way_to(fields, resource)
        if way is not None:
            return check.on + way
    return check.on


def _way_to(wanted: Any, value: Any) -> str | None:
    """The path of an object inside another, found by identity."""
    if value is wanted:
        return ""
    inner = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for name, each in inner:
        if type(each) is dict or type(each) is list:
            way = _way_to(wanted, each)
            if way is not None:
                return f".{name}{way}" if type(name) is str else f"[{name}]{way}"
    return None


def lookup(context: Context, own: Reference | None = None) -> Callable[..., Any]:
    """`lookup(kind, key[, date])`: the data of the registry entry that is valid on the day, or nothing.

    A kind and key that the registry does not have is looked for in the programme's own `reference.csv`.
    """
    today = context.now.date().isoformat()

    def ask(kind: str, key: Any, day: Any = None) -> Any:
        on = str(day or today)[:10]
        entries = context.registry.get(kind, {}).get(str(key), ())
        for entry in entries:
            if (entry.valid_from or "") <= on <= (entry.valid_to or "9999"):
                return entry.data
        return None if entries else reference.on(own or {}, kind, str(key), on)

    return ask


# --- reading -------------------------------------------------------------------


def load(path: FilePath, rules: Rules) -> Checks:
    """The checks of a file; a missing file is no checks. Every fault is `Misconfigured` with file and line."""
    if not path.is_file():
        return Checks((), "")
    root = yaml_files.load(path)
    if root.kind != "list":
        _refuse(root, "a list of checks is expected")
    digest = hashlib.sha256(path.read_bytes())
    entries = tuple(_read(node, rules, path.parent / "ranges") for node in root)
    for each in sorted({str(node["table"].value) for node in root if "table" in node}):
        digest.update((path.parent / "ranges" / each).read_bytes())
    seen: set[str] = set()
    for node, check in zip(root, entries, strict=True):
        if check.code in seen:
            _refuse(node, f"the code {check.code} stands twice")
        seen.add(check.code)
    checks = tuple(each for each in entries if isinstance(each, Check))
    words = tuple(each for each in entries if isinstance(each, Wording))
    own = path.with_name("reference.csv")
    if own.is_file():
        digest.update(own.read_bytes())
    return Checks(checks, digest.hexdigest(), words, reference.load(own))


def _refuse(node: yaml_files.Node, detail: str) -> NoReturn:
    raise Misconfigured(detail=f"{node.at}: {detail}")


def _read(node: yaml_files.Node, rules: Rules, folder: FilePath) -> Check | Wording:
    if node.kind != "mapping":
        _refuse(node, "a check is a mapping")
    for key, inner in node.items():
        if key not in _KEYS:
            _refuse(inner, f"a check has no {key!r}")
    if "invariant" in node:
        return _wording(node)
    on = _text(node, "on")
    if not rules.model.is_concrete_resource(on):
        _refuse(node["on"], f"{on!r} is no resource type")
    severity = _severity(node)
    at = str(node["at"].value) if "at" in node else ""
    at = at.removeprefix(on + ".")
    return Check(
        code=_text(node, "code"),
        severity=severity,
        rule=str(node["rule"].value) if "rule" in node else "",
        on=on,
        when=_expression(node, "when", on, rules) if "when" in node else None,
        test=_among(node, on, rules, folder) if "table" in node else _required(node, on, rules),
        at=at,
        where=None if not at or _PLAIN.fullmatch(at) else _expression(node, "at", on, rules),
        text=_four(node, "text"),
        mend=_four(node, "mend"),
    )


def _wording(node: yaml_files.Node) -> Wording:
    for key in ("on", "when", "fhirpath", "table"):
        if key in node:
            _refuse(node[key], f"beside `invariant:` no {key!r} can stand")
    return Wording(
        code=_text(node, "code"),
        severity=_severity(node),
        rule=str(node["rule"].value) if "rule" in node else "",
        invariant=_text(node, "invariant"),
        at=str(node["at"].value) if "at" in node else "",
        text=_four(node, "text"),
        mend=_four(node, "mend"),
    )


def _severity(node: yaml_files.Node) -> Severity:
    severity = _text(node, "severity")
    if severity not in get_args(Severity):
        _refuse(node["severity"], f"{severity!r} is no severity")
    return severity  # type: ignore[return-value]  # one of its values, just looked at


def _text(node: yaml_files.Node, key: str) -> str:
    inner = node.get(key)
    if inner is None or not isinstance(inner.value, str) or not inner.value:
        _refuse(inner or node, f"a check needs {key!r} as text")
    return str(inner.value)


def _required(node: yaml_files.Node, on: str, rules: Rules) -> Compiled:
    _text(node, "fhirpath")
    return _expression(node, "fhirpath", on, rules)


def _among(node: yaml_files.Node, on: str, rules: Rules, folder: FilePath) -> Among:
    if "fhirpath" in node:
        _refuse(node["fhirpath"], "beside `table:` no `fhirpath` can stand")
    name, match, among = _text(node, "table"), _text(node, "match"), node.get("among")
    if match not in ("forbidden", "required"):
        _refuse(node["match"], "match is forbidden or required")
    if "/" in name or among is None or among.kind != "mapping":
        _refuse(node["table"], "a table is a file under ranges/, and `among` names its columns")
    table, _ = ranges.load(folder / name)
    for column, inner in among.items():
        if column not in table.columns:
            _refuse(inner, f"{name} has no column {column!r}")
    columns = {column: _column(among, column, on, rules) for column, _ in among.items()}
    return Among(table, columns, match == "forbidden")


def _column(among: yaml_files.Node, name: str, on: str, rules: Rules) -> Compiled | Years:
    node = among[name]
    if node.kind != "mapping":
        return _expression(among, name, on, rules)
    if {key for key, _ in node.items()} != {"from", "to"}:
        _refuse(node, "years are counted `from` a date `to` a date")
    return Years(_expression(node, "from", on, rules), _expression(node, "to", on, rules))


def _expression(node: yaml_files.Node, key: str, on: str, rules: Rules) -> Compiled:
    try:
        return fhirpath.compile(str(node[key].value), rules.types, on)
    except FhirPathError as error:
        _refuse(node[key], f"{error.detail} (at {error.position})")


def _four(node: yaml_files.Node, key: str) -> Mapping[str, str]:
    inner = node.get(key)
    value = inner.value if inner is not None else None
    if not isinstance(value, dict) or any(not isinstance(value.get(language), str) for language in LANGUAGES):
        _refuse(inner or node, f"a check needs {key!r} in {', '.join(LANGUAGES)}")
    return {language: value[language] for language in LANGUAGES}
