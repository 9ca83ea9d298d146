"""The one YAML loader: safe, strict, with the file, line and column of every node.

A careful part of YAML 1.2's core schema: `true`, `false`, `null` and `~`, decimal integers without a leading zero,
decimals (kept as `Decimal`); everything else is text, so that `no`, `on`, `0012` and `2020-10-22` stay what
an analyst wrote. Repeated keys, aliases, tags and merge keys are refused, with their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from gateway.errors import Misconfigured

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 60

_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Composes nodes only; plain scalars are read by `_plain`."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the library reads this class attribute


class Node:
    """One node. `line` and `column` count from 1. `value` is plain data: dict, list, str, int, Decimal, bool, None."""

    __slots__ = ("column", "entries", "file", "kind", "line", "members", "scalar")

    def __init__(self, kind: str, file: str, line: int, column: int) -> None:
        self.kind = kind  # "mapping", "list" or "scalar"
        self.file, self.line, self.column = file, line, column
        self.entries: dict[str, tuple[Node, Node]] = {}
        self.members: list[Node] = []
        self.scalar: str | int | Decimal | bool | None = None

    @property
    def at(self) -> str:
        """ "file:line:column", as compilers print it."""
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def value(self) -> Any:
        if self.kind == "mapping":
            return {key: node.value for key, (_, node) in self.entries.items()}
        return [node.value for node in self.members] if self.kind == "list" else self.scalar

    def get(self, key: str) -> Node | None:
        """The node under the key of a mapping; None where there is none, or this is no mapping."""
        found = self.entries.get(key)
        return found[1] if found else None

    def key(self, key: str) -> Node:
        """The node of the key itself, for its place."""
        return self.entries[key][0]

    def items(self) -> Iterator[tuple[str, Node]]:
        """Keys and nodes of a mapping, in the order of the file."""
        for key, (_, node) in self.entries.items():
            yield key, node

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __getitem__(self, key: str) -> Node:
        return self.entries[key][1]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.entries) or len(self.members)


def load(path: Path | str) -> Node:
    """The root node of a file. Every problem is `Misconfigured` with file, line and column."""
    try:
        return parse(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise Misconfigured("GW-FMT-080", detail=error.strerror or "unreadable", file=str(path), line="0") from None


def parse(text: bytes | str, file: str = "-") -> Node:
    """The same, of text that is already here. An empty document is a scalar whose value is None."""
    if len(text) > MAX_BYTES:
        _refuse(f"more than {MAX_BYTES} bytes", file, 0)
    try:
        loader = _Loader(text.decode("utf-8") if isinstance(text, bytes) else text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        _refuse("not UTF-8", file, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        _refuse(error.problem or "not YAML", file, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)
    except (yaml.YAMLError, ValueError) as error:
        _refuse(str(error).splitlines()[0], file, 0)
    except RecursionError:
        _refuse("nested too deep", file, 0)
    if root is None:
        return Node("scalar", file, 1, 1)
    return _convert(root, file, set(), 0)


def _refuse(detail: str, file: str, line: int, column: int = 0) -> NoReturn:
    raise Misconfigured("GW-FMT-080", detail=detail, file=file, line=f"{line}:{column}")


def _convert(raw: Any, file: str, seen: set[int], depth: int) -> Node:
    line, column = raw.start_mark.line + 1, raw.start_mark.column + 1
    if id(raw) in seen:
        _refuse("aliases are not used here; name a fragment instead", file, line, column)
    if depth > MAX_DEPTH:
        _refuse("nested too deep", file, line, column)
    seen.add(id(raw))
    if isinstance(raw, yaml.MappingNode):
        node = Node("mapping", file, line, column)
        for key, value in raw.value:
            name = _convert(key, file, seen, depth + 1)
            text = key.value if isinstance(key, yaml.ScalarNode) else None
            if text is None or text == "<<":
                _refuse("a key is plain text", file, name.line, name.column)
            if text in node.entries:
                _refuse(f"the key {text!r} stands twice", file, name.line, name.column)
            node.entries[text] = (name, _convert(value, file, seen, depth + 1))
        return node
    if isinstance(raw, yaml.SequenceNode):
        node = Node("list", file, line, column)
        node.members = [_convert(member, file, seen, depth + 1) for member in raw.value]
        return node
    node = Node("scalar", file, line, column)
    node.scalar = _plain(raw, file)
    return node


def _plain(raw: Any, file: str) -> str | int | Decimal | bool | None:
    text: str = raw.value
    if raw.tag != "tag:yaml.org,2002:str" and not raw.tag.endswith(":null"):
        _refuse(f"tag {raw.tag}", file, raw.start_mark.line + 1, raw.start_mark.column + 1)
    if raw.style:  # quoted, or a block: text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 19 else text
    return Decimal(text) if _DECIMAL.fullmatch(text) else text
