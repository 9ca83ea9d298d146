"""Room validate: FHIR R4 StructureDefinitions compiled to Python, and what is wrong with a resource.

>>> from gateway.validate import validate
>>> [each.location for each in validate({"resourceType": "Patient", "gender": "x"}) if each.severity == "error"]
['Patient.gender']
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from gateway.errors import Misconfigured, text
from gateway.message import Finding, Json
from gateway.programme import Programme
from gateway.validate import checks
from gateway.validate.outcome import outcome
from gateway.validate.pack import core, read_folder
from gateway.validate.rulebook import Rulebook, Rules, folders, misshapen
from gateway.validate.run import Policy
from gateway.validate.terminology import Service, _no_service

HOME = Path(__file__).resolve().parents[2]


def load(
    home: Path = HOME,
    programmes: Sequence[Programme] = (),
    extra: Sequence[Json] = (),
    policy: Policy | None = None,
    service: Service = _no_service,
) -> Rulebook:
    """The rule set of an installation: core pack, each programme's profiles and checks, and `extra` definitions.

    Definitions compile when they are first needed. Raises `Misconfigured` for files that cannot be used.
    """
    names = [name for each in programmes for name in (each.name, *each.profiles)]
    definitions = [one for folder in folders(home, list(dict.fromkeys(names))) for one in read_folder(folder)]
    base = core(home)
    given = [*definitions, *extra]
    checker = Rules(base)
    for each in given:
        problem = misshapen(checker, each)
        if problem is not None:
            raise Misconfigured(detail=text(problem, "en"))
    rules = Rules(base.over(given), service)
    made = {each.name: checks.load(Path(each.folder) / "checks.yaml", rules) for each in programmes if each.folder}
    return Rulebook(rules, made, policy or Policy())


@cache
def _default() -> Rulebook:
    return load()


def validate(resource: Json | bytes, profile: str | None = None) -> tuple[Finding, ...]:
    """Everything wrong with a resource, against R4 and, if given, a profile."""
    return _default().validate(resource, (profile,) if profile else ())


__all__ = ["Policy", "Rulebook", "load", "outcome", "validate"]
