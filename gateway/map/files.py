"""The mapping files of a home: read once at start, fragments put in, compiled; every error of every file at once.

mappings/<programme>/programme.toml     intake names the files
mappings/<programme>/*.yaml             mappings (and checks.yaml, which is not ours)
mappings/<programme>/tables/*           code tables and fact tables: CSV, or ConceptMaps as JSON
mappings/<programme>/out/*.yaml         documents into national messages
mappings/<programme>/layouts/*.toml     flat files: their columns, by version
mappings/<shared>/                      a folder without programme.toml: fragments and tables for all
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from gateway.errors import GatewayError, Misconfigured
from gateway.formats import layout as layouts
from gateway.formats import paths
from gateway.formats import yaml as yaml_files
from gateway.map import document
from gateway.map.expression import BadExpression, condition
from gateway.map.intake_tables import Taker
from gateway.map.mapping import CompiledMapping, FileCompiler
from gateway.map.nodes import Library, Node, Spot, Trouble, short
from gateway.map.output import Output, OutputCompiler
from gateway.map.reading import Notation, Reader
from gateway.map.tables import BadTable, CodeTable, FactTable, Groups
from gateway.map.tables import groups as read_groups
from gateway.map.tables import read as read_table
from gateway.programme import Programme

_NOTATION: Final = {"hl7v2": "hl7v2", "table": "table", "json": "json", "xml": "xml", "fhir": "json"}
_KINDS: Final = ("*.yaml", "out/*.yaml", "tables/*.*", "layouts/*.toml")
_NOT_OURS: Final = frozenset({"checks.yaml"})
_SHOWN: Final = 20


class FormatNotation(msgspec.Struct, frozen=True):
    """The paths of one format of `gateway.formats`; `namespaces` are the prefixes of XML paths."""

    name: str
    namespaces: Mapping[str, str] = {}

    def compile(self, path: str) -> Any:
        """The compiled path, or `Misconfigured`."""
        return paths.compile(self.name, path, self.namespaces)


class Loaded(msgspec.Struct, frozen=True):
    """One programme, ready to run."""

    programme: Programme
    zone: ZoneInfo
    takers: tuple[Taker, ...]
    outputs: Mapping[str, Output]
    layouts: tuple[layouts.Layout, ...] = ()


class Shelf(msgspec.Struct, frozen=True):
    """Everything below `mappings/` before it is compiled. `nodes` by short name ("v2/pid")."""

    home: Path
    nodes: Mapping[str, Node]
    tables: Mapping[str, Mapping[str, CodeTable | FactTable]]
    shared: frozenset[str]
    digest: str


def tree(body: bytes, file: str) -> Node:
    """The nodes of a YAML file; raises `Trouble`."""
    try:
        return _node(yaml_files.parse(body, file))
    except GatewayError as error:
        line, _, column = error.args_.get("line", "1").partition(":")
        raise Trouble(Spot(file, int(line), int(column or 1)), error.args_.get("detail", "not YAML")) from None


def _node(found: yaml_files.Node) -> Node:
    spot = Spot(found.file, found.line, found.column)
    if found.kind == "mapping":
        return Node({key: _node(child) for key, child in found.items()}, spot)
    if found.kind == "list":
        return Node([_node(child) for child in found], spot)
    return Node(found.scalar, spot)


def _shared(home: Path) -> list[Path]:
    return [p for p in sorted(home.iterdir()) if p.is_dir() and not (p / "programme.toml").exists()]


def shelf(home: Path, names: Sequence[str], troubles: list[Trouble]) -> Shelf:
    """Read every file that the programmes of these names could use."""
    nodes: dict[str, Node] = {}
    tables: dict[str, dict[str, CodeTable | FactTable]] = {}
    digest = hashlib.sha256()
    shared = _shared(home)
    for folder in (*shared, *(home / name for name in names)):
        own = tables.setdefault(folder.name, {})
        for path in sorted(each for kind in _KINDS for each in folder.glob(kind)):
            body = path.read_bytes()
            digest.update(str(path.relative_to(home)).encode() + b"\0" + hashlib.sha256(body).digest())
            if path.name in _NOT_OURS or path.parent.name == "layouts":
                continue
            try:
                if path.parent.name == "tables":
                    own[path.stem] = read_table(path)
                else:
                    nodes[short(path, home)] = tree(body, str(path.relative_to(home)))
            except BadTable as error:
                troubles.append(Trouble(Spot(str(path.relative_to(home)), 1, 1), str(error)))
            except Trouble as trouble:
                troubles.append(trouble)
    return Shelf(home, nodes, tables, frozenset(folder.name for folder in shared), digest.hexdigest())


def _groups(found: Shelf, programme: Programme, troubles: list[Trouble]) -> Mapping[str, Groups]:
    folder = found.home.parent / "profiles" / programme.name
    try:
        return read_groups(folder)
    except BadTable as error:
        troubles.append(Trouble(Spot(str(folder), 1, 1), str(error)))
        return {}


class Loader:
    """Compiles the files of one programme."""

    def __init__(self, found: Shelf, programme: Programme, troubles: list[Trouble]) -> None:
        self.shelf, self.programme, self.troubles = found, programme, troubles
        self.zone = ZoneInfo(programme.timezone)
        self.library = Library(found.nodes)
        shared = {name: table for folder in sorted(found.shared) for name, table in found.tables[folder].items()}
        self.tables = {**shared, **found.tables.get(programme.name, {})}
        self.groups = _groups(found, programme, troubles)
        self.layouts = layouts.load(found.home / programme.name / "layouts")
        self._compiled: dict[tuple[str, str], CompiledMapping] = {}

    def load(self) -> Loaded:
        """The programme with its intakes and outputs."""
        takers = tuple(self._taker(number) for number in range(len(self.programme.intake)))
        prefix = f"{self.programme.name}/out/"
        outputs = {
            name.removeprefix(prefix): self._output(name) for name in self.shelf.nodes if name.startswith(prefix)
        }
        return Loaded(self.programme, self.zone, takers, outputs, self.layouts)

    def _expanded(self, name: str) -> Node | None:
        node = self.shelf.nodes.get(name)
        if node is None:
            self.troubles.append(Trouble(Spot(f"{self.programme.name}/programme.toml", 1, 1), f"no file {name}.yaml"))
            return None
        try:
            fields = {
                key: child if key == "fragments" else self.library.expand(child) for key, child in node.fields.items()
            }
        except Trouble as trouble:
            self.troubles.append(trouble)
            return None
        return Node(self._with_canonical(Node(fields, node.spot)).value, node.spot)

    def _with_canonical(self, node: Node) -> Node:
        """`{$canonical}` is known now; the rest of the text stays a constant where it was one."""
        if isinstance(node.value, dict):
            return Node({key: self._with_canonical(child) for key, child in node.value.items()}, node.spot)
        if isinstance(node.value, list):
            return Node([self._with_canonical(child) for child in node.value], node.spot)
        if isinstance(node.value, str) and "{$canonical}" in node.value:
            return Node(node.value.replace("{$canonical}", self.programme.canonical), node.spot)
        return node

    def _reader(self, notation: Notation, variables: dict[str, Any]) -> Reader:
        return Reader(notation, self.zone, self.tables, variables, self.groups)

    def _taker(self, number: int) -> Taker:
        intake = self.programme.intake[number]
        own = f"{self.programme.name}/{intake.mapping.removesuffix('.yaml')}"
        shared = intake.mapping.removesuffix(".yaml")
        name = shared if own not in self.shelf.nodes and shared in self.shelf.nodes else own
        notation = FormatNotation(_NOTATION.get(intake.format, "json"))
        mapping = self._mapping(name, notation)
        fits = split = None
        if intake.format not in ("hl7v2", "table"):
            prefixes = self.shelf.nodes[name].fields.get("namespaces") if name in self.shelf.nodes else None
            declared = {} if prefixes is None else {key: str(child.value) for key, child in prefixes.fields.items()}
            reader = self._reader(FormatNotation(notation.name, declared), {})
            try:
                fits = reader.condition(condition(intake.when)) if intake.when else None
                split = reader.parts(intake.split) if intake.split else None
            except BadExpression as error:
                self.troubles.append(Trouble(Spot(f"{self.programme.name}/programme.toml", 1, 1), str(error)))
        return Taker(intake, mapping, fits, split)

    def _mapping(self, name: str, notation: Notation) -> CompiledMapping:
        known = self._compiled.get((name, notation.name))
        if known is None:
            node = self._expanded(name)
            if node is None:
                return CompiledMapping(name, notation.name, (), "")
            variables: dict[str, Any] = {}
            prefixes = node.fields.get("namespaces")
            if prefixes is not None:
                found = {prefix: str(child.value) for prefix, child in prefixes.fields.items()}
                notation = FormatNotation(notation.name, found)
            reader = self._reader(notation, variables)
            known = FileCompiler(name, node, reader, variables, self.troubles).compile()
            self._compiled[name, notation.name] = known
        return known

    def _output(self, name: str) -> Output:
        node = self._expanded(name) or Node({}, Spot(name, 1, 1))
        variables: dict[str, Any] = {}
        reader = self._reader(document.NOTATION, variables)
        return OutputCompiler(name, node, reader, variables, self.troubles, self.layouts).compile()


def load(home: Path, programmes: Sequence[Programme]) -> tuple[dict[str, Loaded], str]:
    """Every programme by name and the digest of all files, or `Misconfigured` that lists every trouble."""
    troubles: list[Trouble] = []
    folder = home / "mappings"
    found = shelf(folder, [p.name for p in programmes], troubles)
    loaded = {p.name: Loader(found, p, troubles).load() for p in programmes}
    if troubles:
        lines = list(dict.fromkeys(str(trouble) for trouble in troubles))
        shown = "\n".join(lines[:_SHOWN]) + ("\n…" if len(lines) > _SHOWN else "")
        raise Misconfigured("GW-MAP-020", count=str(len(lines)), detail=shown)
    digest = hashlib.sha256(found.digest.encode())
    for programme in programmes:
        digest.update((folder / programme.name / "programme.toml").read_bytes())
        for path in sorted((home / "profiles" / programme.name).glob("ValueSet-*.json")):
            digest.update(path.read_bytes())
    return loaded, digest.hexdigest()
