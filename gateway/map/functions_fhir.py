"""Whole FHIR resources taken over from a FHIR input: ids keyed, references among them following."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.formats import json
from gateway.map.expression import Argument
from gateway.map.functions import Step, Workshop, function, said, word
from gateway.map.ids import keyed
from gateway.map.run import Got, Problem, Run
from gateway.message import Json

_LOCAL: Final = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/.+)?")


def _targets(run: Run) -> Mapping[str, Json]:
    """The input's resources by fullUrl and by Type/id."""
    found: dict[str, Json] = {}
    bundle = getattr(run.root, "value", None)
    entries = bundle.get("entry") if isinstance(bundle, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            found[str(entry.get("fullUrl"))] = resource
            found[f"{resource.get('resourceType')}/{resource.get('id')}"] = resource
    return found


def _name(resource: Json) -> Any:
    """The identifier by which others would know the resource: the official one, else the first."""
    known = [each for each in resource.get("identifier") or () if isinstance(each, dict) and "value" in each]
    return next((each for each in known if each.get("use") == "official"), known[0] if known else None)


def _followed(reference: Json, run: Run, targets: Mapping[str, Json]) -> Json:
    text = str(reference["reference"])
    target = targets.get(text)
    local = _LOCAL.fullmatch(text)
    if target is not None:
        kind, id = str(target.get("resourceType")), str(target.get("id"))
    elif local is not None:
        kind, id = local[1], local[2]
    else:
        return reference
    made = {**reference, "reference": f"{kind}/{keyed(run.context.id_key, run.context.sender, kind, (id,))}"}
    name = _name(target) if target is not None else None
    if name is not None and "identifier" not in made:
        made["identifier"] = {key: name[key] for key in ("system", "value") if key in name}
    return made


def _rewritten(value: Any, run: Run, targets: Mapping[str, Json]) -> Any:
    if isinstance(value, dict):
        inner = {name: _rewritten(each, run, targets) for name, each in value.items()}
        return _followed(inner, run, targets) if isinstance(inner.get("reference"), str) else inner
    if isinstance(value, list):
        return [_rewritten(each, run, targets) for each in value]
    return value


@function("resource", most=4, shape="[PROFILE…]")
def _resource(_: Workshop, arguments: Sequence[Argument]) -> Step:
    """A FHIR resource as it stands in the input, without its id; it claims the profiles as well.

    `Type/id` references, and those to a fullUrl of the input's Bundle, lead to the keyed id that `key: [.id]` makes,
    and name the target's official (or first) identifier where they name none.
    """
    profiles = [word(each) for each in arguments]

    def step(run: Run, got: Got) -> Any:
        try:
            found = json.read(said(got).encode())
        except GatewayError:
            raise Problem("GW-MAP-006", value=said(got)[:40], expected="a resource") from None
        if not isinstance(found, dict):
            raise Problem("GW-MAP-006", value=said(got)[:40], expected="a resource")
        made = {k: _rewritten(v, run, _targets(run)) for k, v in found.items() if k not in ("resourceType", "id")}
        meta = made.pop("meta", None)
        meta = meta if isinstance(meta, dict) else {}
        claimed = list(dict.fromkeys([*(meta.get("profile") or ()), *profiles]))
        if claimed:
            made = {"meta": {"profile": claimed}, **made}
        return made

    return step
