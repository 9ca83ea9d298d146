"""One door to the paths of every notation, for whoever compiles mappings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.errors import Misconfigured
from gateway.formats import hl7v2_path, table

COMPILERS: Final[dict[str, Callable[[str], Any]]] = {"hl7v2": hl7v2_path.compile, "table": table.compile}


def compile(notation: str, path: str) -> Any:
    """The compiled path for sources of that notation ("hl7v2", "table", "xml", "json"); `Misconfigured` if wrong."""
    compiler = COMPILERS.get(notation)
    if compiler is None:
        raise Misconfigured("GW-FMT-040", path=path, notation=notation)
    return compiler(path)
