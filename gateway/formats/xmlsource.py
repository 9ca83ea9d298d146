"""An XML document as a source. Paths are a small part of XPath 1.0:

    /f:Bundle/f:entry    from the root        entry/fullUrl   from here       .   the element itself
    a/b[2]/@id           second b, its attribute    //b   any depth    *   any element
    a[@type='x']/b       where an attribute, or a[kind='x'] a child, has that value
    a/text()             the same as a

Prefixes are those that the mapping declares; a name without one is matched in no namespace, or in the namespace
declared under the empty prefix. The value of an element is its own text: every text node directly in it, joined, so
that a comment cannot hide half of a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from lxml import etree

from gateway.errors import Misconfigured
from gateway.formats import xml
from gateway.formats.source import Datum
from gateway.message import Place

Element = etree._Element

_NAME: Final = r"[^\W\d][\w.\-]*"
_STEP: Final = re.compile(rf"(//?)?(?:(text\(\)|\.(?!\.))|(@)?(?:({_NAME}):)?({_NAME}|\*))((?:\[[^\]]*\])*)")
_PREDICATE: Final = re.compile(rf"\[(?:(\d{{1,9}})|(@)?(?:({_NAME}):)?({_NAME})\s*=\s*(?:'([^']*)'|\"([^\"]*)\"))\]")


class Test(msgspec.Struct, frozen=True):
    """One predicate: a position, or a child or attribute that must have a value."""

    position: int = 0
    attribute: bool = False
    name: str = ""
    value: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step, with the name in Clark notation ({namespace}local)."""

    name: str
    deep: bool = False
    tests: tuple[Test, ...] = ()


class XmlPath(msgspec.Struct, frozen=True):
    """The element steps, and the attribute at the end if there is one."""

    text: str
    absolute: bool
    steps: tuple[Step, ...]
    attribute: str = ""


def compile(path: str, namespaces: Mapping[str, str] | None = None) -> XmlPath:
    """The path, or `Misconfigured` (GW-FMT-040) that quotes it."""
    text, known = path.strip(), namespaces or {}
    steps: list[Step] = []
    attribute, at = "", 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or attribute or (at and not found[1]):
            raise Misconfigured("GW-FMT-040", path=path, notation="XML")
        _, here, is_attribute, prefix, name, predicates = found.groups()
        if is_attribute:
            attribute = _clark(prefix, name, known, path, default=False)
        elif name:
            tests = tuple(_tests(predicates, known, path))
            steps.append(Step(_clark(prefix, name, known, path), found[1] == "//", tests))
        elif predicates or (here == "." and at):
            raise Misconfigured("GW-FMT-040", path=path, notation="XML")
        at = found.end()
    if not text:
        raise Misconfigured("GW-FMT-040", path=path, notation="XML")
    return XmlPath(path, text[0] == "/", tuple(steps), attribute)


def _clark(prefix: str | None, name: str, known: Mapping[str, str], path: str, default: bool = True) -> str:
    if name == "*":
        return "*"
    if prefix and prefix not in known:
        raise Misconfigured("GW-FMT-040", path=path, notation=f"XML ({prefix}: is not declared)")
    space = known.get(prefix or "", "") if prefix or default else ""
    return f"{{{space}}}{name}" if space else name


def _tests(predicates: str, known: Mapping[str, str], path: str) -> Iterator[Test]:
    at = 0
    while at < len(predicates):
        found = _PREDICATE.match(predicates, at)
        if found is None or found[1] == "0":
            raise Misconfigured("GW-FMT-040", path=path, notation="XML")
        position, is_attribute, prefix, name, single, double = found.groups()
        if position:
            yield Test(position=int(position))
        else:
            clark = _clark(prefix, name, known, path, default=not is_attribute)
            yield Test(attribute=bool(is_attribute), name=clark, value=single if single is not None else double)
        at = found.end()


def own_text(element: Element) -> str:
    """The text directly in the element, around its children, comments and instructions; outer white space cut."""
    pieces = [element.text or ""]
    pieces += [child.tail or "" for child in element]
    return "".join(pieces).strip()


class _Document:
    """The numbers of a document: element -> number of its text; its attributes follow, then its children."""

    def __init__(self, root: Element) -> None:
        self.root = root
        self.first: dict[Element, int] = {}
        self.end: dict[Element, int] = {}
        number = 0
        for event, element in etree.iterwalk(root, events=("start", "end")):
            if not isinstance(element.tag, str):
                continue
            if event == "start":
                self.first[element] = number
                number += 1 + len(element.attrib)
            else:
                self.end[element] = number
        self._positions: dict[Element, int] | None = None

    def position(self, element: Element) -> int:
        """Which of its like-named siblings it is, from 1; 0 for an only one. All are counted once, when first asked."""
        if self._positions is None:
            self._positions = {}
            for parent in self.first:
                same: dict[object, list[Element]] = {}
                for child in parent.iterchildren(etree.Element):
                    same.setdefault(child.tag, []).append(child)
                for children in same.values():
                    self._positions.update((c, n) for n, c in enumerate(children, 1 if len(children) > 1 else 0))
        return self._positions.get(element, 0)

    def place_of(self, key: tuple[Element, str]) -> Place:
        element: Element | None
        element, attribute = key
        parts = [f"/@{_local(element, attribute)}"] if attribute else []
        while element is not None:
            position = self.position(element)
            parts.append(f"/{_named(element)}[{position}]" if position else f"/{_named(element)}")
            element = element.getparent()
        return Place(notation="xml", path="".join(reversed(parts)))


def _local(element: Element, clark: str) -> str:
    name = etree.QName(clark)
    if not name.namespace:
        return name.localname
    prefix = next((p for p, uri in element.nsmap.items() if uri == name.namespace and p), None)
    return f"{prefix}:{name.localname}" if prefix else name.localname


def _named(element: Element) -> str:
    return _local(element, str(element.tag)) if element.prefix else etree.QName(element).localname


class XmlSource:
    """A document, or one element of it."""

    __slots__ = ("_document", "element")
    notation: Final = "xml"

    def __init__(self, element: Element, document: _Document | None = None) -> None:
        self.element = element
        self._document = document or _Document(element)

    @property
    def first(self) -> int:
        return self._document.first[self.element]

    @property
    def size(self) -> int:
        return self._document.end[self.element] - self.first

    @property
    def here(self) -> Place:
        return self._document.place_of((self.element, ""))

    def get(self, path: XmlPath) -> Sequence[Datum]:
        out: list[Datum] = []
        for element in self._find(path):
            if path.attribute:
                out += [d for d in self._attributes(element) if path.attribute in ("*", d.key[1])]
            else:
                out += self._text(element)
        return out

    def each(self, path: XmlPath) -> Sequence[XmlSource]:
        return [XmlSource(element, self._document) for element in self._find(path)]

    def leaves(self, seen: bytearray | None = None) -> Iterator[Datum]:
        first = self.first
        for element in self.element.iter(etree.Element):
            for datum in (*self._text(element), *self._attributes(element)):
                if seen is None or not seen[datum.leaf - first]:
                    yield datum

    def _text(self, element: Element) -> Iterator[Datum]:
        text = own_text(element)
        if text:
            yield Datum(text, self._document.first[element], self._document, (element, ""))

    def _attributes(self, element: Element) -> Iterator[Datum]:
        first = self._document.first[element] + 1
        for offset, (name, value) in enumerate(element.attrib.items()):
            if value:
                yield Datum(str(value), first + offset, self._document, (element, str(name)))

    def _find(self, path: XmlPath) -> list[Element]:
        if not path.absolute:
            found = [self.element]
            steps = path.steps
        else:
            root = self._document.root
            first, steps = (path.steps[0], path.steps[1:]) if path.steps else (Step("*"), ())
            candidates = root.iter(first.name) if first.deep else iter([root])
            found = [e for e in candidates if first.name in ("*", e.tag)]
            found = _tested(found, first.tests)
        for step in steps:
            found = list(dict.fromkeys(below for element in found for below in _below(element, step)))
        return found


def _below(element: Element, step: Step) -> list[Element]:
    wanted: Any = etree.Element if step.name == "*" else step.name
    found = element.iterdescendants(wanted) if step.deep else element.iterchildren(wanted)
    return _tested(list(found), step.tests)


def _tested(found: list[Element], tests: Sequence[Test]) -> list[Element]:
    for test in tests:
        if test.position:
            found = found[test.position - 1 : test.position]
        elif test.attribute:
            found = [e for e in found if e.get(test.name) == test.value]
        else:
            found = [e for e in found if any(own_text(c) == test.value for c in e.iterchildren(test.name))]
    return found


def read(body: bytes) -> XmlSource:
    """The source of an XML document. Raises what the one XML parser raises."""
    return XmlSource(xml.read(body))
