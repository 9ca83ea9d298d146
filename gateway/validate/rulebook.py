"""The rule set: definitions compiled when they are first needed, and what the room promises to the outside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

from gateway import fhirpath
from gateway.errors import Refused, finding, text
from gateway.fhirpath import Environment, FhirPathError
from gateway.formats import json
from gateway.message import Context, Finding, ItemResult, Json
from gateway.validate import datatypes, narrative, references
from gateway.validate.bindings import answer_coding
from gateway.validate.checks import Checks
from gateway.validate.consequences import once
from gateway.validate.extensions import value_at
from gateway.validate.lineage import placed
from gateway.validate.model import RESOURCES, Element, Model, PathTypes, is_base
from gateway.validate.overlay import Primitive, Profile
from gateway.validate.pack import FILES, R4, Pack, split_canonical
from gateway.validate.references import Entry, Index
from gateway.validate.run import MAX_DEPTH, MAX_FINDINGS, Path, Policy, Run, TooMany, errors, shown
from gateway.validate.shape import Shape
from gateway.validate.slicing import Gather, gatherer
from gateway.validate.spec import Spec, build, element_path
from gateway.validate.terminology import Service, Terminology, _no_service


class Rules:
    """Definitions of one pack, compiled lazily: types to shapes, profiles to overlays, expressions to closures."""

    def __init__(self, pack: Pack, service: Service = _no_service) -> None:
        self.pack = pack
        self.model = Model(pack)
        self.types = PathTypes(self.model)
        self.terminology = Terminology(pack, service)
        self._shapes: dict[str, Shape] = {}
        self._profiles: dict[str, Profile | None] = {}
        self._specs: dict[str, Spec | None] = {}
        self._fitting: set[tuple[str, str]] = set()
        self._broken: dict[str, str] = {}
        self._expressions: dict[tuple[str, str], fhirpath.Compiled | None] = {}
        self._gatherers: dict[tuple[str, str], Gather] = {}

    # --- definitions ---------------------------------------------------------

    def shape(self, key: str) -> Shape:
        """The compiled base type."""
        if key not in self._shapes:
            self._shapes[key] = Shape(self, key)
        return self._shapes[key]

    def spec(self, canonical: str) -> Spec | None:
        """The tree of a profile; None for a core type, an unknown profile, or one that cannot be used."""
        if canonical not in self._specs:
            if self.pack.find("StructureDefinition", canonical.partition("#")[0]) is None:
                return None  # not remembered: such names come from outside without end
            self._specs[canonical] = None  # a profile that is its own ancestor ends here
            self._specs[canonical] = self._build(canonical)
        return self._specs[canonical]

    def _build(self, canonical: str) -> Spec | None:
        url, _, part = canonical.partition("#")
        if part:
            whole = self.spec(url)
            return None if whole is None else whole.find(part)
        definition = self.pack.find("StructureDefinition", canonical)
        if definition is None or is_base(definition):
            return None
        base = str(definition.get("baseDefinition", ""))
        parent = self.spec(base)
        above = self.pack.find("StructureDefinition", base)
        core_parent = above is not None and is_base(above)
        try:
            return build(self.model, definition, parent, core_parent)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._broken[canonical] = shown(str(error))
            return None

    def profile(self, canonical: str) -> Profile | None:
        """The compiled profile; None where there is none to run."""
        if canonical not in self._profiles:
            if self.pack.find("StructureDefinition", canonical.partition("#")[0]) is None:
                return None
            spec = self.spec(canonical)
            url, _, part = canonical.partition("#")
            definition = self.pack.find("StructureDefinition", url)
            made = None
            if spec is not None and definition is not None:
                made = Profile(self, definition, spec, element_path(part) if part else None)
            if len(self._profiles) < _KEPT:
                self._profiles[canonical] = made
            return made
        return self._profiles[canonical]

    def gather(self, key: str, element: Element) -> Gather:
        """What finds the items of an element of that type, made once."""
        made = self._gatherers.get((key, element.name))
        if made is None:
            made = self._gatherers[key, element.name] = gatherer(self, element)
        return made

    # --- walking -------------------------------------------------------------

    def resource(self, value: Json, path: Path, run: Run) -> None:
        """One resource, already entered: base type, and what its meta.profile claims."""
        kind = value.get("resourceType")
        if type(kind) is not str or not self.model.is_concrete_resource(kind):
            run.say("GW-VAL-001", path, args={"type": shown(kind)})
            return
        path = (*path[:3], kind)
        index = run.index
        if kind == "Bundle":
            run.index = Index.of_bundle(value)
        try:
            self.shape(kind)(value, path, run)
            sign = datatypes.vital_sign(value) if kind == "Observation" else None
            vital = self.profile(sign) if sign is not None else None
            if vital is not None:
                vital(value, path, run)
            for at, url in _claimed(value):
                self._claim(url, value, (((path, "meta", -1, "Meta")), "profile", at, "canonical"), path, run)
        finally:
            run.index = index

    def _claim(self, url: str, value: Json, claim: Path, path: Path, run: Run) -> None:
        if self._applies(url, value, claim, run, asserted=False):
            profile = self.profile(url)
            if profile is not None:
                run.claimed(value, url, lambda: profile(value, path, run))

    def _applies(self, url: str, value: Json, path: Path, run: Run, *, asserted: bool) -> bool:
        kind = str(value.get("resourceType"))
        if (url, kind) in self._fitting:
            return True
        definition = self.pack.find("StructureDefinition", url)
        if definition is None:
            run.say(
                "GW-VAL-055",
                path,
                severity=run.policy.unknown_profile if asserted else "warning",
                args={"url": shown(url)},
            )
            return False
        wanted = str(definition.get("type"))
        if wanted not in self.model.ancestry(kind):
            run.say("GW-VAL-056", path, args={"url": shown(url), "expected": wanted, "found": kind})
            return False
        spec = self.spec(url)
        problems = [self._broken[url]] if url in self._broken else spec.problems if spec is not None else []
        if problems:
            run.say("GW-VAL-054", path, args={"url": shown(url), "detail": shown(", ".join(problems))})
        elif len(self._fitting) < _KEPT:
            self._fitting.add((url, kind))
        return True

    def asserted(self, url: str, value: Json, path: Path, run: Run) -> None:
        """A profile that the caller asks for."""
        if self._applies(url, value, path, run, asserted=True):
            self.whole(value, str(value.get("resourceType")), url, path, run)

    def whole(self, value: Json, code: str, url: str, path: Path, run: Run) -> None:
        """A value against a profile, with the surroundings that a resource has."""
        profile = self.profile(url)
        if profile is None:
            base = split_canonical(url)[0].removeprefix(R4)
            if self.model.is_resource(base) and base not in self.model.ancestry(code):
                run.say("GW-VAL-037", path, args={"type": code, "allowed": base})
            return
        if value is run.resource or not self.model.is_concrete_resource(code):
            profile(value, path, run)
            return
        holder = run.container if run.container is not None else run.resource
        inner = holder.get("contained")
        contained = type(inner) is list and any(value is each for each in inner)
        before = run.resource, run.container, run.index
        run.resource, run.container = value, holder if contained else None
        if code == "Bundle":
            run.index = Index.of_bundle(value)
        try:
            profile(value, path, run)
        finally:
            run.resource, run.container, run.index = before

    # --- expressions ---------------------------------------------------------

    def expression(self, text: str, key: str) -> fhirpath.Compiled | None:
        """The compiled expression, or None where it cannot be read."""
        if (text, key) not in self._expressions:
            try:
                self._expressions[text, key] = fhirpath.compile(text, self.types, key)
            except FhirPathError:
                self._expressions[text, key] = None
        return self._expressions[text, key]

    def evaluate(self, text: str, key: str, value: Any, path: Path, run: Run) -> bool | None:
        """Whether an invariant holds: empty counts as no; None where it cannot be evaluated here."""
        compiled = self.expression(text, key)
        if compiled is None:
            return None
        focus: Any = value
        if type(value) is Primitive:
            focus = fhirpath.node(value.value, key, self.types, value.extra)
        asked = Asked()
        try:
            verdict = compiled.boolean(focus, environment(run, asked))
        except FhirPathError:
            return None
        if verdict is True:
            return True
        lenient = _AS_SYSTEM.sub(lambda found: found[1] + found[2].lower() + found[3], text)
        if lenient != text and self.evaluate(lenient, key, value, path, run):
            return True
        return None if asked.undecided else False

    def holds(self, text: str, path: Path, run: Run) -> bool | None:
        """An expression on the element at a path."""
        return self.evaluate(text, path[3], value_at(path, run), path, run)

    def selects(self, text: str, path: Path, run: Run) -> bool:
        """Whether an expression on the resource selects the element that holds the extension at `path`."""
        compiled = self.expression(text, str(run.resource.get("resourceType")))
        holder = value_at(path[0], run, companion=True)
        if compiled is None:
            return False
        try:
            found = compiled.nodes(run.resource, environment(run, Asked()))
        except FhirPathError:
            return False
        return any(getattr(each, "fields", None) is holder for each in found)


_KEPT: Final = 5_000
_AS_SYSTEM: Final = re.compile(r"(\bas(?:\s+|\())(S|B|I|D|T)(tring|oolean|nteger|ecimal|ate|ateTime|ime)\b")
"""R4 reads `as String` leniently: the FHIR primitive counts too."""


class Asked:
    """Whether an expression asked something that cannot be decided here."""

    __slots__ = ("undecided",)

    def __init__(self) -> None:
        self.undecided = False


def environment(run: Run, asked: Asked) -> Environment:
    """What an expression may ask: the resources around it, terminology, profiles, narrative rules."""

    def member_of(value: Any, url: str) -> bool | None:
        answers = [_member(each, url, run) for each in _coded(value)]
        if "yes" in answers:
            return True
        if "cannot" in answers:
            asked.undecided = True
            return None
        return False

    def conforms_to(value: Any, url: str) -> bool | None:
        code = str(value.get("resourceType")) if type(value) is dict else ""
        if run.rules.pack.find("StructureDefinition", url) is None:
            asked.undecided = True
            return None
        profile = run.rules.profile(url)
        if profile is None:
            return split_canonical(url)[0] == R4 + code
        here = (None, code, -1, code)
        return not errors(run.probe(lambda: run.rules.whole(value, code, url, here, run)))

    return Environment(
        resource=run.resource,
        root_resource=run.container if run.container is not None else run.resource,
        resolve=lambda reference: references.resolve(run, reference),
        member_of=member_of,
        conforms_to=conforms_to,
        html_checks=narrative.html_checks,
    )


def _coded(value: Any) -> list[Any]:
    if type(value) is dict and type(value.get("coding")) is list:
        return list(value["coding"])
    return [value]


def _member(value: Any, url: str, run: Run) -> str:
    if type(value) is str:
        return run.rules.terminology.member(url, None, value)
    return answer_coding(url, value, run) if type(value) is dict else "no"


def _claimed(value: Json) -> list[tuple[int, str]]:
    meta = value.get("meta")
    urls = meta.get("profile") if type(meta) is dict else None
    return [(at, url) for at, url in enumerate(urls) if type(url) is str] if type(urls) is list else []


class Rulebook:
    """Everything that is checked, loaded once. Implements `ports.Validator`; pure and safe to share."""

    def __init__(self, rules: Rules, checks: Mapping[str, Checks], policy: Policy) -> None:
        self.rules = rules
        self.checks = checks
        self.policy = policy
        summed = hashlib.sha256(rules.pack.digest.encode())
        for name in sorted(checks):
            summed.update(checks[name].digest.encode())
        summed.update(json.write(policy))
        self.digest = summed.hexdigest()

    def validate(
        self,
        resource: Json | bytes,
        profiles: Sequence[str] = (),
        definitions: Sequence[Json] = (),
        policy: Policy | None = None,
    ) -> tuple[Finding, ...]:
        """Everything wrong with one resource, against its base type, `meta.profile` and the asserted profiles.

        Bytes are read as JSON. `definitions` are profiles, value sets and code systems for this call alone.
        Never raises for what the resource holds: what cannot be read is a finding too.
        """
        try:
            value = json.read(resource) if isinstance(resource, bytes) else resource
        except Refused as refused:
            return (refused.finding(),)
        if not definitions:
            return _validate(self.rules, value, profiles, policy or self.policy, None)
        problems = [misshapen(self.rules, each) for each in definitions]
        usable = [each for each, problem in zip(definitions, problems, strict=True) if problem is None]
        rules = Rules(self.rules.pack.over(usable), self.rules.terminology.service)
        found = _validate(rules, value, profiles, policy or self.policy, None)
        return (*(each for each in problems if each is not None), *found)

    def findings(self, result: ItemResult, context: Context) -> tuple[Finding, ...]:
        """All of an item: each resource, its profiles, the programme's checks; with the sender's places."""
        entries = [Entry(each, "", at) for at, each in enumerate(result.resources)]
        index = Index(entries)
        found: list[Finding] = []
        checks = self.checks.get(context.programme)
        for each in result.resources:
            said = _validate(self.rules, each, (), self.policy, index)
            here = [placed(one, each, result.lineage, self.rules.model) for one in said]
            found += here if checks is None else [checks.worded(one, each, result) for one in here]
        if checks is not None:
            found += checks.findings(self.rules, result, context, index)
        return tuple(found)


def misshapen(rules: Rules, definition: Any) -> Finding | None:
    """Why a definition cannot be used: it is not what R4 says a definition looks like. None: it can.

    Compiling relies on it. Only what would mislead a compiler counts: wrong JSON kinds, and parts that are missing
    inside (a concept without a code); a profile without a status is still a profile.
    """
    kind = definition.get("resourceType") if type(definition) is dict else None
    url = shown(definition.get("url", "")) if type(definition) is dict else ""
    if type(kind) is not str or kind not in FILES:
        return finding("GW-VAL-054", url=url, detail=shown(kind))
    for each in _validate(rules, definition, (), _QUIET, None):
        inside = each.code == "GW-VAL-003" and each.location != kind
        if inside or each.code in ("GW-VAL-005", "GW-VAL-049", "GW-VAL-050", "GW-VAL-057"):
            return finding("GW-VAL-054", url=url, detail=f"{each.location}: {text(each, 'en')}")
    return None


_QUIET: Final = Policy(unknown_extension=None, narrative="information", best_practice=False, undecided=False)


def _validate(
    rules: Rules, value: Any, profiles: Sequence[str], policy: Policy, index: Index | None
) -> tuple[Finding, ...]:
    kind = value.get("resourceType") if type(value) is dict else None
    run = Run(rules, value if type(value) is dict else {}, policy)
    run.index = index
    path: Path = (None, kind if type(kind) is str and kind not in RESOURCES else "Resource", -1, str(kind))
    if type(value) is not dict:
        run.say("GW-VAL-001", path, args={"type": "…"})
        return tuple(run.findings)
    if kind == "Parameters":
        run.index = _parameters(value)
    try:
        rules.resource(value, path, run)
        for url in profiles:
            rules.asserted(url, value, path, run)
    except TooMany:
        run.findings = run.findings[: MAX_FINDINGS - 2]
        run.say("GW-VAL-057", path, args={"limit": str(MAX_FINDINGS)})
    except RecursionError:
        run.say("GW-VAL-049", path, args={"limit": str(MAX_DEPTH)})
    return once(run.findings, run.reasons)


def _parameters(value: Json) -> Index:
    held = value.get("parameter")
    inner = [each.get("resource") for each in held if type(each) is dict] if type(held) is list else []
    return Index([Entry(each, "", at) for at, each in enumerate(inner) if type(each) is dict])


def folders(home: FilePath, names: Sequence[str]) -> list[FilePath]:
    """The folders of definitions under `home/profiles` that exist."""
    return [folder for name in names if (folder := home / "profiles" / name).is_dir()]
