"""The CapabilityStatement, generated from what is registered: what it says is there, is there."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gateway.message import Json
from gateway.pull.instants import text
from gateway.pull.parameters import Definitions, Parameter
from gateway.pull.query import COMMON
from gateway.pull.topics import Topics
from gateway.pull.wanted import PROFILE

SOFTWARE: Final = "gateway"
_INSTANCE: Final = ("read", "vread", "history-instance", "history-type", "search-type")
_SECURITY: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def statement(definitions: Definitions, topics: Topics, base: str, at: datetime, version: str) -> Json:
    """FHIR R4 3.1.0.6, of kind instance."""
    rest: Json = {
        "mode": "server",
        "security": {
            "cors": False,
            "service": [
                {"coding": [{"system": _SECURITY, "code": "SMART-on-FHIR"}]},
                {"coding": [{"system": _SECURITY, "code": "Certificates"}]},
            ],
            "description": "Mutual TLS, or SMART backend services (private_key_jwt with ES384 or RS384).",
        },
        "resource": [_resource(definitions, each) for each in definitions.types]
        + [_BINARY, _BUNDLE, _subscription(topics)],
        "interaction": [{"code": "history-system"}, {"code": "search-system"}],
        "searchParam": [_parameter(each) for each in definitions.of("Patient").values() if each.code in COMMON],
        "operation": [
            {"name": "export", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"},
        ],
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": text(at),
        "kind": "instance",
        "instantiates": [
            "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data",
            "http://hl7.org/fhir/uv/subscriptions-backport/CapabilityStatement/backport-subscription-server-r4",
        ],
        "software": {"name": SOFTWARE, "version": version},
        "implementation": {"description": "What this gateway holds for the repository that asks", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "rest": [rest],
    }


_BINARY: Final[Json] = {
    "type": "Binary",
    "interaction": [{"code": "read"}],
    "documentation": "The exact signed bytes of a document, by its id; with .jws after the id, its detached signature.",
}
_BUNDLE: Final[Json] = {
    "type": "Bundle",
    "interaction": [{"code": "read"}],
    "documentation": "A document by its id with its evidence as Bundle.signature; without that, what was signed.",
}
_TOPICS: Final = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
)
_GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-"


def _subscription(topics: Topics) -> Json:
    """What can be subscribed to, as the backport guide says where it is said."""
    parameters = {
        "_id": "token",
        "criteria": "string",
        "payload": "token",
        "status": "token",
        "type": "token",
        "url": "uri",
    }
    base = "http://hl7.org/fhir/SearchParameter/"
    return {
        "extension": [{"url": _TOPICS, "valueCanonical": each.url} for each in topics.all()],
        "type": "Subscription",
        "supportedProfile": [PROFILE],
        "interaction": [{"code": each} for each in ("create", "read", "update", "delete", "search-type")],
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": False,
        "searchParam": [
            {
                "name": name,
                "type": kind,
                "definition": base + (f"Subscription-{name}" if name != "_id" else "Resource-id"),
            }
            for name, kind in parameters.items()
        ],
        "operation": [{"name": name, "definition": f"{_GUIDE}{name}"} for name in ("status", "events")],
    }


def _resource(definitions: Definitions, type: str) -> Json:
    parameters = definitions.of(type).values()
    references = [each.code for each in parameters if each.kind == "reference" and each.code != "_document"]
    reverse = [
        f"{other}:{each.code}"
        for other in definitions.types
        for each in definitions.of(other).values()
        if type in each.targets
    ]
    found: Json = {
        "type": type,
        "interaction": [{"code": each} for each in _INSTANCE],
        "versioning": "versioned",
        "readHistory": True,
        "conditionalRead": "not-match",
        "searchInclude": [f"{type}:*", *(f"{type}:{each}" for each in references)],
        "searchRevInclude": reverse,
        "searchParam": [_parameter(each) for each in parameters],
    }
    if type == "Patient":
        found["operation"] = [
            {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"},
            {"name": "export", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export"},
        ]
    return found if reverse else {name: each for name, each in found.items() if name != "searchRevInclude"}


def _parameter(found: Parameter) -> Json:
    return {"name": found.code, "definition": found.url, "type": found.kind}


def smart(base: str) -> Json:
    """`.well-known/smart-configuration` (SMART App Launch 2.2): backend services only."""
    return {
        "token_endpoint": f"{base}token",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.rs", "system/*.r", "system/*.s", "system/Subscription.cruds"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }
