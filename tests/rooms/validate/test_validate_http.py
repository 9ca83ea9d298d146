"""`$validate` over HTTP, asked as a client would ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from instances_validate import INSTANCES, PROFILE, profile

from gateway.errors import finding
from gateway.formats import fhirxml, json
from gateway.message import Finding
from gateway.validate import load
from gateway.validate.http import Question, Verdict, judge, router

NAMED = profile("named", "Patient", {"path": "Patient.maritalStatus", "min": 1})


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    book = load(extra=[NAMED])

    @asynccontextmanager
    async def take(request: Request) -> AsyncIterator[tuple[bytes, tuple[Finding, ...]]]:
        body = await request.body()
        yield body, (finding("GW-CORE-004", what="bytes", actual="more"),) if len(body) > 200_000 else ()

    async def judged(asked: Question) -> Verdict:
        return judge(book, asked)

    app = FastAPI()
    app.include_router(router(take, judged))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test.invalid") as made:
        yield made


def codes_of(response: httpx.Response) -> list[str]:
    said = json.read(response.content)
    assert said["resourceType"] == "OperationOutcome"
    return [each["details"]["coding"][0]["code"] for each in said["issue"] if "coding" in each["details"]]


async def post(client: httpx.AsyncClient, url: str, value: Any, **headers: str) -> httpx.Response:
    body = value if isinstance(value, bytes) else json.write(value)
    return await client.post(url, content=body, headers={"content-type": "application/fhir+json", **headers})


async def test_a_valid_resource_is_answered_with_no_findings(client: httpx.AsyncClient) -> None:
    """All is well is an answer too, and FHIR wants at least one issue."""
    answer = await post(client, "/fhir/Patient/$validate", INSTANCES["Patient"])
    assert (answer.status_code, codes_of(answer)) == (200, [])


async def test_findings_come_with_code_place_and_advice(client: httpx.AsyncClient) -> None:
    """What a sender needs to mend it, in the sender's language."""
    answer = await post(
        client, "/fhir/$validate", INSTANCES["Patient"] | {"gender": "x"}, **{"accept-language": "fa, en"}
    )
    (issue,) = json.read(answer.content)["issue"]
    assert issue["expression"] == ["Patient.gender"]
    assert issue["severity"] == "error"
    assert "مجموعه مقادیر" in issue["details"]["text"]
    assert answer.headers["content-language"] == "fa"


async def test_profiles_by_query_and_by_parameters(client: httpx.AsyncClient) -> None:
    """Both ways that the operation knows."""
    url = PROFILE + "named"
    asked = await client.post("/fhir/$validate", params={"profile": url}, content=json.write(INSTANCES["Patient"]))
    wrapped = {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": INSTANCES["Patient"]}, {"name": "profile", "valueUri": url}],
    }
    assert codes_of(asked) == codes_of(await post(client, "/fhir/$validate", wrapped)) == ["GW-VAL-003"]


async def test_the_type_of_the_address_must_fit(client: httpx.AsyncClient) -> None:
    """A Patient posted as an Encounter is a mistake of the caller."""
    assert codes_of(await post(client, "/fhir/Encounter/$validate", INSTANCES["Patient"])) == ["GW-VAL-058"]


async def test_xml_in_and_out(client: httpx.AsyncClient) -> None:
    """The same resource in the other form gives the same answer in the form that was asked for."""
    types = load().rules.types
    body = fhirxml.write(INSTANCES["Encounter"], types)
    answer = await post(
        client, "/fhir/$validate", body, **{"content-type": "application/fhir+xml", "accept": "application/fhir+xml"}
    )
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert fhirxml.read(answer.content, types)["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[" * 1000, 413), (b'{"a":1,"a":2}', 400), (b" " * 300_000, 413)]
)
async def test_what_cannot_be_read_says_why(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    """An OperationOutcome in every case."""
    answer = await post(client, "/fhir/$validate", body)
    assert answer.status_code == status
    assert codes_of(answer)
