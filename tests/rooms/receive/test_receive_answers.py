"""Findings in the words of each kind of caller."""

from __future__ import annotations

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.errors import finding
from gateway.formats import json
from gateway.message import LANGUAGES, Finding, Place
from gateway.receive import answers, hl7
from gateway.receive.http import Renderer

OURS = sorted(code for code in errors.codes() if code.startswith("GW-RECEIVE-"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", OURS)
def test_every_code_of_the_room_is_said_in_every_language(code: str, language: str) -> None:
    """A valid OperationOutcome with text and mend; code and severity are the same in all four."""
    body = json.read(answers.outcome([finding(code)], language))  # type: ignore[arg-type]
    OperationOutcome.model_validate(body)
    (issue,) = body["issue"]
    assert issue["details"]["coding"] == [{"system": answers.CODE_SYSTEM, "code": code}]
    assert issue["severity"] == errors.codes()[code].severity
    assert issue["details"]["text"]
    assert issue["diagnostics"]


@given(st.dictionaries(st.sampled_from(["format", "detail"]), st.text()), st.text(), st.text())
def test_whatever_the_sender_sent_the_answer_can_be_written(args: dict[str, str], path: str, location: str) -> None:
    """Arguments and places may hold anything that was sent: control characters, surrogates, nothing."""
    found = Finding(
        code="GW-CORE-003", severity="error", args=args, place=Place(notation="json", path=path), location=location
    )
    OperationOutcome.model_validate(json.read(answers.outcome([found], "en")))
    json.read(answers.problem([found], "fa", 422))


def test_places_go_where_fhir_has_room_for_them() -> None:
    """FHIRPath in expression; the sender's own notation in location."""
    found = [
        finding("GW-CORE-002", Place(notation="hl7v2", path="PID-3.1"), "Patient.identifier[0]"),
        finding("GW-CORE-002", Place(notation="fhirpath", path="Bundle.entry[1]")),
    ]
    first, second = json.read(answers.outcome(found, "en"))["issue"]
    assert (first["location"], first["expression"]) == (["PID-3.1"], ["Patient.identifier[0]"])
    assert second["expression"] == ["Bundle.entry[1]"]
    assert "location" not in second


def test_thousands_of_findings_are_cut_and_the_cut_is_said() -> None:
    """A sheet of ten thousand bad rows gets an answer of bounded size that says what it leaves out."""
    found = [finding("GW-CORE-002", Place(notation="table", path=f"row {n}")) for n in range(5000)]
    issues = json.read(answers.outcome(found, "en"))["issue"]
    assert len(issues) == answers.MAX_FINDINGS + 1
    assert issues[-1]["details"]["text"].startswith("4000 ")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/fhir+json"),
        ("*/*", "application/fhir+json"),
        ("application/problem+json", "application/problem+json"),
        ("application/fhir+json;q=0.5, application/problem+json", "application/problem+json"),
        ("application/problem+json;q=0.5, application/fhir+json", "application/fhir+json"),
        ("application/problem+json;q=0", "application/fhir+json"),
        ("application/problem+json;q=nonsense", "application/fhir+json"),
        ("text/html", "application/fhir+json"),
    ],
)
def test_accept(accept: str | None, chosen: str) -> None:
    """RFC 9110 quality values; nonsense is as if it were not there."""
    assert answers.preferred(accept, ("application/fhir+json", "application/problem+json")) == chosen


@pytest.mark.parametrize(
    ("code", "place", "original", "commit"),
    [
        (None, None, "AA", "CA"),
        ("GW-CORE-002", "PID-3", "AE", "CE"),
        ("GW-RECEIVE-016", None, "AR", "CR"),
        ("GW-FMT-001", "MSH", "AR", "CR"),
        ("GW-CORE-009", None, "AE", "CE"),
        ("GW-RECEIVE-006", None, "AA", "CA"),  # a warning
    ],
)
def test_acknowledgement_codes(code: str | None, place: str | None, original: str, commit: str) -> None:
    """Reject for the header and for strangers, error for the rest (HL7 chapter 2, section 2.9.2)."""
    where = Place(notation="hl7v2", path=place) if place else None
    found = [finding(code, where)] if code else []
    refused = any(each.severity == "error" for each in found)
    assert (hl7.original(found, refused), hl7.commit(found, refused)) == (original, commit)


def test_a_renderer_says_what_it_can_give_again() -> None:
    """Recorded answers are matched by this media type."""
    assert Renderer.media_type == "application/http"
