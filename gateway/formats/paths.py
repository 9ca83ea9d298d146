"""One door to the paths of every notation, for whoever compiles mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.errors import Misconfigured
from gateway.formats import hl7v2_path, jsonsource, table, xmlsource

COMPILERS: Final[dict[str, Callable[[str], Any]]] = {
    "hl7v2": hl7v2_path.compile,
    "table": table.compile,
    "json": jsonsource.compile,
}


def compile(notation: str, path: str, namespaces: Mapping[str, str] | None = None) -> Any:
    """The compiled path for sources of that notation; `Misconfigured` (GW-FMT-040) where it is wrong.

    `namespaces` are the prefixes that XML paths may use.
    """
    if notation == "xml":
        return xmlsource.compile(path, namespaces)
    compiler = COMPILERS.get(notation)
    if compiler is None:
        raise Misconfigured("GW-FMT-040", path=path, notation=notation)
    return compiler(path)
