"""fhirpy reads, searches, follows pages, exports. Prints what it saw as JSON. Run as a program."""

import json
import sys
import urllib.request

from fhirpy import SyncFHIRClient

base, token = sys.argv[1:]
client = SyncFHIRClient(base, authorization=f"Bearer {token}")


def fetched(url: str, **headers: str):
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}", **headers})
    return urllib.request.urlopen(asked)


one = client.reference("Patient", "p1").to_resource()
patients = client.resources("Patient")
observations = (
    client.resources("Observation").search(subject__Patient__family="patient-one").include("Observation", "subject")
)
found = observations.fetch_raw()
job = fetched(f"{base}/$export?_type=Patient", Prefer="respond-async").headers["content-location"]
manifest = json.load(fetched(job))
lines = [line for each in manifest["output"] for line in fetched(each["url"]).read().splitlines()]
print(
    json.dumps(
        {
            "one": [one["id"], one.get_by_path(["name", 0, "family"]), one["birthDate"]],
            "total": patients.count(),
            "everyone": [each["id"] for each in patients.limit(4).fetch_all()],
            "included": sorted(f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in found["entry"]),
            "first": patients.search(family="patient-one").sort("-_id").first()["id"],
            "exported": sorted(json.loads(line)["id"] for line in lines),
        }
    )
)
