"""The types of FHIR R4 for views, read once from the core pack."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from gateway.errors import GatewayError, Misconfigured
from gateway.fhirpath import StructureModel
from gateway.formats import json


@cache
def r4(home: Path) -> StructureModel:
    """The model under `home/profiles/r4`, or `Misconfigured` where it cannot be read."""
    path = home / "profiles" / "r4" / "structures.json.gz"
    try:
        members = json.read_members(gzip.decompress(path.read_bytes()))
        return StructureModel([json.read(bytes(each)) for each in members.values()])
    except (OSError, EOFError, GatewayError) as error:
        raise Misconfigured(detail=f"{path}: {type(error).__name__}") from None
