"""fhirclient (SMART on FHIR) reads, searches, follows pages. Prints what it saw as JSON. Run as a program."""

import json
import sys

from fhirclient import client
from fhirclient.models.fhirreference import FHIRReference
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient

base, token = sys.argv[1:]
smart = client.FHIRClient(settings={"app_id": "a test", "api_base": base})
smart.server.session.headers["Authorization"] = f"Bearer {token}"

statement = smart.server.capabilityStatement
one = Patient.read("p1", smart.server)
family = Patient.where({"family": "patient-one"}).perform(smart.server)
everyone = [each.id for each in Patient.where({"_count": "4"}).perform_resources_iter(smart.server)]
seen = Observation.where({"subject:Patient.identifier": "urn:test:person|n-p1", "_include": "Observation:subject"})
reference = FHIRReference({"reference": "Patient/p2"})
reference._owner = one
print(
    json.dumps(
        {
            "version": statement.fhirVersion,
            "one": [one.id, one.name[0].family, one.birthDate.isostring],
            "total": family.total,
            "everyone": everyone,
            "included": sorted(f"{e.resource.resource_type}/{e.resource.id}" for e in seen.perform(smart.server).entry),
            "resolved": reference.resolved(Patient).id,
        }
    )
)
