"""A document as a signed Bundle: what was signed is inside it to the byte, and it is nobody else's."""

from __future__ import annotations

import base64

from pull_house import TWO, House, patient

from gateway.formats import fhirxml, json

BODY = (
    b'{"resourceType":"Bundle","id":"d1","type":"collection","entry":[{"resource":{"resourceType":"Basic","n":1.50}}]}'
)
JWS = "e30..c2ln"


def provenance(document: str) -> dict:
    signature = {"type": [{"code": "x"}], "when": "2026-11-21T08:30:00Z", "sigFormat": "application/jose"}
    return {
        "resourceType": "Provenance",
        "id": document,
        "target": [{"reference": f"Binary/{document}"}],
        "recorded": "2026-11-21T08:30:00Z",
        "agent": [{"who": {"display": "a test"}}],
        "signature": [signature | {"data": base64.b64encode(JWS.encode()).decode()}],
    }


async def test_a_signed_bundle_is_the_signed_bytes_and_their_signature(house: House) -> None:
    """Without its last member it is the Binary, byte for byte; the member is that of the Provenance."""
    await house.document("d1", BODY)
    await house.put(patient("a"), provenance("d1"), document="d1")
    answer = await house.ask("Bundle/d1")
    assert answer.status_code == 200
    binary = (await house.ask("Binary/d1")).content
    value = json.read(answer.content)
    assert list(value)[-1] == "signature"
    mark = b',"signature":'
    assert answer.content.rpartition(mark)[0] + b"}" == binary == BODY
    assert base64.b64decode(value["signature"]["data"]).decode() == JWS
    raw = {"headers": {"accept": "*/*"}}
    assert (await house.ask("Binary/d1.jws", **raw)).content.decode() == JWS
    assert answer.headers["link"].endswith('Binary/d1>; rel="via"')
    found = await house.get("Patient?_id=a&_revinclude=Provenance:target")
    (proof,) = [e["resource"] for e in found["entry"] if e["search"]["mode"] == "include"]
    assert proof["target"][0]["reference"] == "Binary/d1"


async def test_it_is_nobody_else_s(house: House) -> None:
    """Another repository's Bundle, one without evidence, and one that never was are answered alike."""
    await house.document("d1", BODY)
    await house.document("d2", BODY)
    await house.put(patient("a"), provenance("d1"), document="d1")
    await house.put(patient("b"), document="d2")
    nothing = (await house.ask("Bundle/nobody")).content
    for path, who in (("Bundle/d1", TWO), ("Bundle/d2", None), ("Bundle/d3", None)):
        answer = await (house.ask(path, who) if who else house.ask(path))
        assert (answer.status_code, answer.content) == (404, nothing), path


async def test_xml_is_given_to_who_asks(home: House) -> None:
    """The same Bundle in the other format; then the signed bytes are those of the Binary."""
    body = b'{"resourceType":"Bundle","id":"d1","type":"collection"}'
    await home.document("d1", body)
    await home.put(patient("a"), provenance("d1"), document="d1")
    answer = await home.ask("Bundle/d1?_format=xml")
    value = fhirxml.read(answer.content, home.api.definitions.model)
    assert value["signature"]["sigFormat"] == "application/jose"
