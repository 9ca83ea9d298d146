"""How fast FHIRPath evaluates, beside fhirpathpy where that is installed, in one run on one machine.

    python -m bench.fhirpath            all figures
    python -m bench.fhirpath --quick    a tenth of the repetitions

Microseconds of processor time an evaluation, compiled once, best of five. The goals: `activity.exists() or
note.exists()` at most 2 µs, `telecom.where(system='phone').exists()` at most 8 µs. fhirpathpy is a library for
comparison only and not a dependency: put it on PYTHONPATH to see its column.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.fhirpath import Environment, compile  # noqa: A004
from gateway.validate.model import Model, PathTypes
from gateway.validate.pack import core

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Test</div>'},
    "identifier": [{"system": "urn:test", "value": "1", "period": {"start": "2001-05-06"}}],
    "name": [
        {"use": "official", "family": "Patient-One", "given": ["Test", "Middle"]},
        {"use": "usual", "given": ["T"]},
    ],
    "telecom": [{"use": "home"}, {"system": "phone", "value": "1"}, {"system": "email", "value": "t@example.org"}],
    "gender": "other",
    "birthDate": "1974-12-25",
}
CONTAINER = PATIENT | {
    "contained": [{"resourceType": "Organization", "id": "o1"}],
    "managingOrganization": {"reference": "#o1"},
}
CARE_PLAN = {"resourceType": "CarePlan", "status": "active", "activity": [{"reference": {"reference": "Task/1"}}]}
PERIOD = {"start": "2026-01-01T10:00:00+01:00", "end": "2026-01-02"}
BUNDLE = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"fullUrl": f"urn:{number}", "resource": PATIENT | {"id": str(number)}} for number in range(6)],
}
DOM_3 = (
    "contained.where((('#'+id in (%resource.descendants().reference | %resource.descendants().as(canonical)"
    " | %resource.descendants().as(uri) | %resource.descendants().as(url)))"
    " or descendants().where(reference = '#').exists() or descendants().where(as(canonical) = '#').exists()"
    ").not()).trace('unmatched', id).empty()"
)
CASES: list[tuple[str, str, str, Any, float | None]] = [
    ("cpl-3 like", "activity.exists() or note.exists()", "CarePlan", CARE_PLAN, 2.0),
    ("where exists", "telecom.where(system='phone').exists()", "Patient", PATIENT, 8.0),
    ("ele-1", "hasValue() or (children().count() > id.count())", "Patient", PATIENT, None),
    ("dom-6", "text.`div`.exists()", "Patient", PATIENT, None),
    ("per-1", "start.hasValue().not() or end.hasValue().not() or (start <= end)", "Period", PERIOD, None),
    ("select", "name.where(use = 'official').given.first()", "Patient", PATIENT, None),
    ("age", "birthDate <= @2026-01-01 - 18 years", "Patient", PATIENT, None),
    (
        "bdl-7",
        "(type = 'history') or entry.where(fullUrl.exists()).select(fullUrl&resource.meta.versionId).isDistinct()",
        "Bundle",
        BUNDLE,
        None,
    ),
    ("dom-3", DOM_3, "Patient", CONTAINER, None),
]


def microseconds(work: Callable[[], Any], repeat: int) -> float:
    """Processor time of one call, best of five rounds."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(repeat):
            work()
        best = min(best, time.process_time() - start)
    return best / repeat * 1e6


def other(expression: str, focus: Any) -> Callable[[], Any] | None:
    """The same in fhirpathpy; None where it is absent, and for what it cannot do (hasValue, as on several items)."""
    if "hasValue" in expression or ".as(" in expression:
        return None
    try:
        library = importlib.import_module("fhirpathpy")
        model = importlib.import_module("fhirpathpy.models").models["r4"]
    except ImportError:
        return None
    evaluate = library.compile(expression, model)
    return lambda: evaluate(focus)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    repeat = 500 if arguments.parse_args().quick else 5_000
    types = PathTypes(Model(core(Path(__file__).parents[1])))
    env = Environment(trace=lambda name, items: None)
    missed = 0
    print(f"{'':14}{'compile':>10}{'evaluate':>10}{'goal':>8}{'fhirpathpy':>12}")
    for name, expression, type_name, focus, goal in CASES:
        compiled = compile(expression, types, type_name)
        made = microseconds(lambda e=expression, t=type_name: compile(e, types, t), 50)
        took = microseconds(lambda c=compiled, f=focus: c.boolean(f, env), repeat)
        peer = other(expression, focus)
        theirs = f"{microseconds(peer, max(10, repeat // 50)):10.1f}" if peer else "-"
        print(f"{name:14}{made:10.0f}{took:10.2f}{goal or '-':>8}{theirs:>12}")
        missed += goal is not None and took > goal
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
