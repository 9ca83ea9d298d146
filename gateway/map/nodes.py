"""What a mapping file consists of: scalars, lists and mappings that know their line and column.

Fragments are put in here, before anything is compiled: a node with `fragment:` is the fragment's node, with the
elements that stand beside it in place of the fragment's own (an empty element, `name: ~`, takes one away).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class Spot(msgspec.Struct, frozen=True):
    """A place in a mapping file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Node(msgspec.Struct, frozen=True):
    """A scalar, a list of nodes, or a mapping of nodes."""

    value: Any
    spot: Spot

    @property
    def fields(self) -> Mapping[str, Node]:
        """The members of a mapping; empty for everything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The members of a list; a single node counts as a list of one."""
        if isinstance(self.value, list):
            return self.value
        return [] if self.value is None else [self]


class Trouble(Exception):
    """Something in a mapping file that cannot be used, with its place."""

    def __init__(self, spot: Spot, message: str) -> None:
        super().__init__(f"{spot}: {message}")
        self.spot = spot
        self.message = message


class Library:
    """The fragments of all files: "v2/pid.patient" is the fragment `patient` of mappings/v2/pid.yaml.

    A name without a file is a fragment of the file that uses it.
    """

    def __init__(self, files: Mapping[str, Node]) -> None:
        self._files = files

    def find(self, name: str, used: Spot) -> Node:
        """The fragment, or `Trouble`."""
        file, _, short = name.rpartition(".")
        where = file or used.file.removesuffix(".yaml")
        found = self._files.get(where)
        fragments = found.fields.get("fragments") if found else None
        node = fragments.fields.get(short) if fragments else None
        if node is None:
            raise Trouble(used, f"there is no fragment {short!r} in {where}.yaml")
        return node

    def expand(self, node: Node, inside: tuple[str, ...] = ()) -> Node:
        """The node with every fragment put in."""
        if isinstance(node.value, list):
            return Node([self.expand(item, inside) for item in node.value], node.spot)
        if not isinstance(node.value, dict):
            return node
        asked = node.fields.get("fragment")
        if asked is None:
            return Node({name: self.expand(child, inside) for name, child in node.value.items()}, node.spot)
        return self._with_fragment(node, asked, inside)

    def _with_fragment(self, node: Node, asked: Node, inside: tuple[str, ...]) -> Node:
        name = str(asked.value)
        if name in inside:
            raise Trouble(asked.spot, f"fragment {name!r} contains itself")
        under = self.expand(self.find(name, asked.spot), (*inside, name))
        own = {key: child for key, child in node.fields.items() if key != "fragment"}
        if not own:
            return under
        if not isinstance(under.value, dict):
            if own.keys() <= {"at", "when", "each"}:
                under = Node({"is": under}, under.spot)
            else:
                raise Trouble(asked.spot, f"fragment {name!r} is no mapping: nothing can stand beside it")
        return Node(self._beside(under, own, inside), node.spot)

    def _beside(self, under: Node, own: Mapping[str, Node], inside: tuple[str, ...]) -> dict[str, Node]:
        made = dict(under.fields)
        for key, child in own.items():
            if child.value is None:
                made.pop(key, None)
            else:
                made[key] = self.expand(child, inside)
        return made


def short(path: Path, home: Path) -> str:
    """The file as mappings name it: relative to the folder `mappings`, without the suffix."""
    return str(path.relative_to(home).with_suffix("")).replace("\\", "/")
