"""Our verdicts beside the reference validator's on examples with one thing broken: `python bench/compare.py`.

For development only. Needs Java, and three places named by the environment, without which it says so and ends:

    REFERENCE_VALIDATOR   a folder of jars with org.hl7.fhir.validation and all that it depends on
    REFERENCE_HOME        a home folder whose .fhir/packages holds hl7.fhir.r4.core#4.0.1 (`profiles/author.py` makes
                          one) and a package for each further one that the validator asks for; an empty one will do
    GATEWAY_TEST_DATA     a folder with r4_examples.ndjson.gz, from which the broken resources are made

A disagreement proves nothing by itself: the specification decides. Each is printed with what both sides said.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.formats import json
from gateway.validate import Policy, load

MAIN: Final = "org.hl7.fhir.validation.ValidatorCli"
WRONG: Final[tuple[Any, ...]] = (
    "",
    " x",
    "x ",
    "a  b",
    "2024-02-30",
    "2023-02-29T10:00:00Z",
    "2024-02-29T10:00:00",
    "#x",
    "Patient/1",
    "Patient/a_b",
    "Group/1/_history/2",
    "http://x.invalid/fhir/Patient/1",
    "urn:uuid:x",
    "urn:oid:1.2.3",
    "<b>",
    0,
    -1,
    2**31,
    True,
    None,
    [],
    {},
    {"extension": [{"url": "http://x.invalid/none", "valueString": "x"}]},
)


ELSEWHERE: Final = (
    "does not resolve",
    "could not be determined for the code",
    "(http://hl7.org/fhir/ValueSet/mimetypes",
    "(http://hl7.org/fhir/ValueSet/currencies",
)
"""What it says only because no terminology server is there."""


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member and item of a resource, narrative left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if key not in ("resourceType", "div"):
            yield (*way, key)
            yield from places(inner, (*way, key))


def broken(resource: Any, chance: random.Random) -> tuple[str, Any]:
    """One thing changed, and what."""
    made = copy.deepcopy(resource)
    way = chance.choice(list(places(made)))
    holder = made
    for step in way[:-1]:
        holder = holder[step]
    key, act = way[-1], chance.randrange(6)
    if act == 0:
        del holder[key]
        what = "gone"
    elif act == 1 and isinstance(key, str):
        holder[key + "X"] = holder.pop(key)
        what = "renamed"
    elif act == 2:
        holder[key] = [holder[key]]
        what = "in a list"
    elif act == 3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
        what = "twice"
    else:
        value = chance.choice(WRONG)
        holder[key] = value
        what = repr(value)
    return f"{'.'.join(map(str, way))} {what}", made


def pieces(data: Path, count: int, seed: int) -> list[tuple[str, Any]]:
    """`count` resources: small examples as they are, and with one thing broken."""
    chance = random.Random(seed)
    with gzip.open(data / "r4_examples.ndjson.gz", "rb") as lines:
        rows = [json.read(line) for line in lines]
    small = [json.read(row["text"].encode()) for row in rows]
    small = [each for each in small if len(json.write(each)) < 12_000]
    return [broken(chance.choice(small), chance) for _ in range(count)]


def theirs(folder: Path, jars: str, home: str) -> dict[str, list[str]]:
    """File name -> errors of the reference validator."""
    out = folder.parent / "outcomes.json"
    command = ["java", "-Xmx3g", f"-Duser.home={home}", "-cp", f"{jars}/*", MAIN, str(folder)]
    command += ["-version", "4.0.1", "-tx", "n/a", "-allow-example-urls", "true", "-output", str(out)]
    done = subprocess.run(command, check=False, cwd=folder.parent, capture_output=True, timeout=3600)
    if not out.exists():
        raise SystemExit(done.stdout.decode()[-3000:] + done.stderr.decode()[-3000:])
    said = json.read(out.read_bytes())
    found = {}
    for outcome in [each["resource"] for each in said["entry"]] if said["resourceType"] == "Bundle" else [said]:
        name = Path(next(e["valueString"] for e in outcome["extension"] if e["url"].endswith("-file"))).name
        errors = [each for each in outcome["issue"] if each["severity"] in ("error", "fatal")]
        errors = [each for each in errors if not any(words in each["details"]["text"] for words in ELSEWHERE)]
        found[name] = [f"{each.get('expression', ['?'])[0]}: {each['details']['text'][:150]}" for each in errors]
    return found


def main() -> int:
    """Print each disagreement and the count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    names = ("REFERENCE_VALIDATOR", "REFERENCE_HOME", "GATEWAY_TEST_DATA")
    if not shutil.which("java") or not all(os.environ.get(name) for name in names):
        print("nothing compared: Java and", ", ".join(names), "are needed")
        return 0
    jars, home, data = (os.environ[name] for name in names)
    book = load(policy=Policy(best_practice=False))
    made = pieces(Path(data), arguments.count, arguments.seed)
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there) / "resources"
        folder.mkdir()
        for number, (_, resource) in enumerate(made):
            (folder / f"{number}.json").write_bytes(json.write(resource))
        reference = theirs(folder, jars, home)
    differ = invalid = 0
    for number, (what, resource) in enumerate(made):
        other = reference.get(f"{number}.json")
        ours = [f"{each.code} {each.location}" for each in book.validate(resource) if each.severity == "error"]
        invalid += bool(ours)
        if other is None or bool(other) == bool(ours):
            continue
        differ += 1
        print(f"{number} {resource.get('resourceType')}/{resource.get('id')} {what}\n   ours {ours}\n   theirs {other}")
    print(f"{len(reference)} compared, {invalid} invalid by ours, {differ} verdicts differ", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
