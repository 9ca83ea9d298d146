"""The interactions, over the real ledger."""

from __future__ import annotations

from lxml import etree
from pull_house import ONE, TWO, House, patient, request

from gateway.formats import json


async def test_a_resource_is_read_with_its_version(house: House) -> None:
    """What a repository reads says which version it is, and unchanged ones are not sent again."""
    await house.put(patient("a"))
    await house.put(patient("a", "Patient-Renamed"))
    answer = await house.ask("Patient/a")
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2"'
    found = answer.json()
    assert found["meta"]["versionId"] == "2"
    assert found["name"][0]["family"] == "Patient-Renamed"
    assert (await house.ask("Patient/a", headers={"if-none-match": 'W/"2"'})).status_code == 304
    assert (await house.ask("Patient/a", headers={"if-none-match": 'W/"1"'})).status_code == 200
    assert (await house.get("Patient/a/_history/1"))["name"][0]["family"] == "Patient-One"


async def test_deleted_is_gone_and_in_the_history(house: House) -> None:
    """Absence and deletion differ (FHIR R4 3.1.0.7)."""
    await house.put(patient("a"))
    await house.put(patient("a"), deleted=True)
    assert (await house.ask("Patient/a")).status_code == 410
    assert await house.ids("Patient") == []
    history = await house.get("Patient/a/_history")
    assert [each["request"]["method"] for each in history["entry"]] == ["DELETE", "POST"]


async def test_xml_and_gzip(home: House) -> None:
    """The same resource in the other format, and small on the wire."""
    await home.put(*[patient(f"p{n}") for n in range(40)])
    answer = await home.ask("Patient/p1?_format=xml")
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert etree.QName(etree.fromstring(answer.content)).localname == "Patient"
    packed = await home.ask("Patient", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert (await home.ask("Patient/p1?_format=turtle")).status_code == 406
    assert packed.json()["total"] == 40


async def test_what_is_registered_is_what_is_declared(home: House) -> None:
    """Each declared parameter is taken by a strict search; the statement itself is valid FHIR R4."""
    statement = await home.get("metadata", None)
    from fhir.resources.R4B.capabilitystatement import CapabilityStatement

    CapabilityStatement.model_validate(statement)
    by_kind = {
        "token": "x", "string": "x", "reference": "Patient/1", "date": "2026", "number": "1", "quantity": "1",
        "uri": "urn:x",
    }  # fmt: skip
    tried = 0
    for resource in statement["rest"][0]["resource"]:
        for each in resource.get("searchParam", ()):
            if resource["type"] in ("Patient", "ServiceRequest", "Slot", "Encounter", "Observation"):
                path = f"{resource['type']}?{each['name']}={by_kind[each['type']]}"
                answer = await home.ask(path, headers={"prefer": "handling=strict"})
                assert answer.status_code == 200, (path, answer.text)
                tried += 1
    assert tried > 90


async def test_unknown_parameters_as_the_client_prefers(home: House) -> None:
    """Left out and said, or refused (FHIR R4 3.1.1.1)."""
    await home.put(patient("a"))
    refused = await home.ask("Patient?shoe-size=44", headers={"prefer": "handling=strict"})
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-PULL-004"
    lenient = await home.get("Patient?shoe-size=44")
    assert [each["search"]["mode"] for each in lenient["entry"]] == ["match", "outcome"]
    assert "shoe-size" not in lenient["link"][0]["url"]


async def test_includes_follow_references_both_ways(house: House) -> None:
    """_include and _revinclude add what is referred to and what refers."""
    await house.put(patient("a"), patient("b"), request("r1", "a"), request("r2", "b"))
    page = await house.get("ServiceRequest?_id=r1&_include=ServiceRequest:subject")
    assert [(e["resource"]["id"], e["search"]["mode"]) for e in page["entry"]] == [("r1", "match"), ("a", "include")]
    page = await house.get("Patient?_id=a&_revinclude=ServiceRequest:subject")
    assert [(e["resource"]["id"], e["search"]["mode"]) for e in page["entry"]] == [("a", "match"), ("r1", "include")]


async def test_parts_are_marked_as_parts(home: House) -> None:
    """Nobody may take a summary for the resource (FHIR R4 3.1.1.5.8)."""
    await home.put(
        patient("a", text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'})
    )
    found = (await home.get("Patient?_elements=birthDate"))["entry"][0]["resource"]
    assert set(found) == {"resourceType", "id", "meta", "birthDate"}
    assert found["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "text" not in (await home.get("Patient/a?_summary=data"))
    counted = await home.get("Patient?_summary=count")
    assert counted["total"] == 1
    assert "entry" not in counted


async def test_documents_come_as_the_exact_signed_bytes(house: House) -> None:
    """The signature is over bytes, so the bytes are what is given."""
    body = b'{"resourceType":  "Bundle", "type":"collection"}'
    await house.document("d1", body)
    proof = {
        "resourceType": "Provenance",
        "id": "pr1",
        "target": [{"reference": "Binary/d1"}],
        "recorded": "2026-01-01",
    }
    await house.put(patient("a"), proof, document="d1")
    read = await house.ask("Patient/a")
    assert "/Binary/d1>" in read.headers["link"]
    answer = await house.ask("Binary/d1", headers={"accept": "*/*"})
    assert answer.content == body
    assert (await house.ask("Binary/d1.jws", headers={"accept": "*/*"})).content == b"e30..c2ln"
    assert (await house.get("Binary/d1?_format=json"))["resourceType"] == "Binary"
    assert (await house.ask("Binary/d1", TWO)).status_code == 404
    page = await house.get("Patient?_id=a&_revinclude=Provenance:target")
    assert [e["resource"]["id"] for e in page["entry"]] == ["a", "pr1"]


async def test_everything_about_a_patient(house: House) -> None:
    """What refers to him, what that refers to, the proofs; nobody else."""
    organisation = {"resourceType": "Organization", "id": "o1", "name": "Test Clinic"}
    await house.put(patient("a"), patient("b"), organisation)
    await house.put(request("r1", "a", performer=[{"reference": "Organization/o1"}]), request("r2", "b"), document="d1")
    found = await house.get("Patient/a/$everything")
    assert {e["resource"]["id"] for e in found["entry"]} == {"a", "r1", "o1"}
    assert (await house.ask("Patient/a/$everything", TWO)).status_code == 404


async def test_every_answer_is_in_the_audit_trail(home: House) -> None:
    """Who read what, and who asked for what is not his (BALP)."""
    await home.put(patient("a"))
    await home.get("Patient/a")
    await home.get("Patient?family=Patient-One")
    await home.ask("Patient/a", TWO)
    found = [each.record for each in await home.ledger.audit_events(0, 100)]
    assert [(each.agent, each.subtype, each.outcome) for each in found] == [
        (ONE, "read", "0"),
        (ONE, "search-type", "0"),
        (TWO, "read", "4"),
    ]
    assert b"Patient-One" not in json.write(found)


async def test_a_programme_s_own_parameter(house: House) -> None:
    """Class of priority is a parameter because a file says so."""
    url = "https://toscana.gateway.invalid/fhir/StructureDefinition/classe-priorita"
    for code in ("U", "B"):
        extension = {"url": url, "valueCoding": {"system": "urn:test:class", "code": code}}
        await house.put(request(f"r{code}", "a", extension=[extension]))
    assert await house.ids("ServiceRequest?classe-priorita=U") == ["rU"]
    assert await house.ids("ServiceRequest?classe-priorita:not=U") == ["rB"]


async def test_includes_of_a_full_page(house: House) -> None:
    """A page of 500 with what refers to each of them is one answer, or a plain refusal past the limit."""
    await house.put_all([patient(f"p{n}") for n in range(520)])
    await house.put_all([request(f"r{n}", f"p{n}") for n in range(520)])
    page = await house.get("Patient?_count=500&_revinclude=ServiceRequest:subject&_revinclude=Provenance:target")
    modes = [each["search"]["mode"] for each in page["entry"]]
    assert (modes.count("match"), modes.count("include")) == (500, 500)
    await house.put_all([request(f"s{n}", f"p{n}") for n in range(520)])
    await house.put_all([request(f"t{n}", f"p{n}") for n in range(520)])
    refused = await house.ask("Patient?_count=500&_revinclude=ServiceRequest:subject")
    assert refused.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-PULL-012"
