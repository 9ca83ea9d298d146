"""What the tests of the regional services send: one message for CART, one document for the health record."""

from __future__ import annotations

from gateway.formats import json

AUDIENCE = "https://cart.invalid/fruizione"
MESSAGE = json.write(
    {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [
            {
                "fullUrl": "urn:uuid:1",
                "resource": {
                    "resourceType": "MessageHeader",
                    "id": "m-1",
                    "eventUri": "urn:test",
                    "source": {"endpoint": "urn:test"},
                },
            },
            {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient", "id": "p"}},
            {
                "fullUrl": "urn:uuid:3",
                "resource": {"resourceType": "ServiceRequest", "id": "s", "subject": {"reference": "urn:uuid:2"}},
            },
        ],
    }
)

BASE = "https://modipa-val.invalid/govway/rest/in/FSE/gateway/v1"
TAX_CODE = "PRVPRV00A01H501X"
BUNDLE = json.write(
    {
        "resourceType": "Bundle",
        "type": "document",
        "entry": [
            {
                "fullUrl": "urn:uuid:1",
                "resource": {
                    "resourceType": "Patient",
                    "identifier": [{"system": "http://hl7.it/sid/codiceFiscale", "value": TAX_CODE}],
                },
            }
        ],
    }
)
