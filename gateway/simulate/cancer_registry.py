"""The cancer registry stand-in: takes delimited files as CanReg5's import would, and says which rows it refuses.

No interface of the real registry is published. Here a file is posted (text/csv); the first line is the header, the
separator is `;`, `,` or a tab, the charset UTF-8. The variables of CanReg5's standard registry are compulsory as they
are there; codes are checked by form; a TumourID that comes again replaces its row. The answer is JSON.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.simulate.arrivals import Arrival
from gateway.simulate.faults import Answer, Order, answer
from gateway.simulate.server import Judged, StandIn

VARIABLES: Final[dict[str, str]] = {
    "TumourID": r".+",
    "Surname": r".+",
    "Sex": r"[129]",
    "Age": r"\d{1,3}",
    "BirthDate": r"\d{8}",
    "AddressCode": r".+",
    "IncidenceDate": r"\d{8}",
    "Topography": r"\d{3}",
    "Morphology": r"[89]\d{3}",
    "Behaviour": r"[012369]",
    "BasisDiagnosis": r"[01245679]",
}
"""What a row has to have, and the form of it."""


class CancerRegistry(StandIn):
    """`tumours` maps a TumourID to its row and the arrival that brought it last."""

    name = "cancer-registry"

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.tumours: dict[str, dict[str, str]] = {}

    def judge(self, arrival: Arrival) -> Judged:
        """All of a file or nothing: a row that is refused refuses the file."""
        reference = arrival.header("idempotency-key")
        rows = _rows(arrival)
        if isinstance(rows, str):
            return self._refused(reference, [rows])
        found = [each for number, row in enumerate(rows, 1) for each in _problems(number, row)]
        if found:
            return self._refused(reference, found)
        seen = sorted(row["TumourID"] for row in rows if row["TumourID"] in self.tumours)
        kept: list[tuple[dict[Any, Any], Any, Any]] = [(self.tumours, row["TumourID"], row) for row in rows]
        body = {"status": "REGISTERED", "reference": reference, "rows": len(rows), "replaced": len(seen)}
        return Judged(answer(200, body), {"result": "created", "rows": len(rows), "replaced": len(seen)}, kept)

    def _refused(self, reference: str, found: list[str]) -> Judged:
        error = {"code": "C01", "text": "; ".join(found[:5])}
        body = {"status": "REFUSED", "reference": reference, "error": error}
        return Judged(answer(422, body), {"result": "refused", "problems": found})

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Errors and wrong references of this interface."""
        reference = arrival.header("idempotency-key")
        if order.name == "wrong-id":
            return answer(200, {"status": "REGISTERED", "reference": f"not-{reference}", "rows": 1})
        if order.name == "unknown-code":
            return answer(200, {"status": "PERHAPS", "reference": reference})
        error = {"code": order.value or "C99", "text": "refused on order"}
        status = 200 if order.name == "error-in-200" else 422
        return answer(status, {"status": "REFUSED", "reference": reference, "error": error})


def _rows(arrival: Arrival) -> list[dict[str, str]] | str:
    """The rows by column, or why the file cannot be read."""
    if arrival.header("content-type").partition(";")[0].strip().lower() not in ("text/csv", "text/plain"):
        return "content type is not text/csv"
    try:
        text = arrival.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "the charset is not UTF-8"
    first = text.partition("\n")[0]
    separator = max(";,\t", key=first.count)
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    if not lines:
        return "the file is empty"
    missing = [name for name in VARIABLES if name not in lines[0]]
    if missing:
        return f"the header lacks {', '.join(missing)}"
    if any(len(line) != len(lines[0]) for line in lines[1:]):
        return "a row has more or fewer columns than the header"
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def _problems(number: int, row: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a row, by variable; never the value."""
    for name, form in VARIABLES.items():
        if not re.fullmatch(form, row[name], re.ASCII if name not in ("Surname", "AddressCode") else 0):
            yield f"row {number}: {name}"
    national = row.get("NationalCode", "")
    if national and not re.fullmatch(r"\d{10}", national, re.ASCII):
        yield f"row {number}: NationalCode"
