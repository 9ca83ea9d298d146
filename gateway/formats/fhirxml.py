"""FHIR XML and the JSON model, both ways, without loss (FHIR R4 2.6.1, 2.6.2).

The shape of the types comes from a `TypeModel`: which elements repeat, which are primitive, what a choice is called.
Decimals keep their digits, the narrative keeps its markup as it came, ids and extensions of primitives become
`_name` members. What XML says and R4 does not know (elements, attributes, comments) is refused or, for comments and
processing instructions, dropped: R4 JSON has no place for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from lxml import etree

from gateway.errors import Refused, Unreadable
from gateway.fhirpath.model import Element, TypeModel
from gateway.formats import json, xml
from gateway.message import Json, Place

FHIR: Final = "http://hl7.org/fhir"
XHTML: Final = "http://www.w3.org/1999/xhtml"
_NAMESPACES: Final[Any] = {None: FHIR}
_INTEGERS: Final = frozenset({"integer", "positiveInt", "unsignedInt"})
_RESOURCES: Final = frozenset({"Resource", "DomainResource"})


def _way(node: etree._Element) -> str:
    """An XPath by local names, as a sender would write it: /Patient/name[2]/given."""
    parts: list[str] = []
    each: etree._Element | None = node
    while each is not None:
        local = str(each.tag).rpartition("}")[2]
        before = sum(1 for _ in each.itersiblings(each.tag, preceding=True))
        parts.append(f"{local}[{before + 1}]" if before else local)
        each = each.getparent()
    return "/" + "/".join(reversed(parts))


def _refuse(node: etree._Element, detail: str) -> NoReturn:
    place = Place(notation="xml", path=_way(node))
    raise Unreadable("GW-CORE-003", place, format="FHIR XML", detail=detail)


# --- reading --------------------------------------------------------------------


def read(body: bytes, model: TypeModel) -> Json:
    """The resource. Raises `Unreadable` (with an XPath) or `TooLarge`, nothing else."""
    root = xml.read(body)
    return _resource(root, model)


def _name(node: etree._Element) -> str:
    namespace, _, local = str(node.tag).rpartition("}")
    if namespace != "{" + FHIR:
        _refuse(node, "the element is not in the FHIR namespace")
    return local


def _children(node: etree._Element) -> Iterator[etree._Element]:
    if node.text and node.text.strip():
        _refuse(node, "text is not allowed here")
    for child in node:
        if isinstance(child.tag, str):
            yield child
        if child.tail and child.tail.strip():
            _refuse(node, "text is not allowed here")


def _resource(node: etree._Element, model: TypeModel) -> Json:
    kind = _name(node)
    if model.elements(kind) is None or not _is_resource(kind, model):
        _refuse(node, f"{kind[:60]} is not a resource")
    return {"resourceType": kind, **_object(node, kind, model)}


def _is_resource(kind: str, model: TypeModel) -> bool:
    base: str | None = kind
    while base is not None:
        if base == "Resource":
            return True
        base = model.base(base)
    return False


def _names(kind: str, model: TypeModel) -> Mapping[str, tuple[str, str, Element]]:
    """XML name -> (JSON name, type, element)."""
    return {
        json_name: (json_name, type_name, element)
        for element in (model.elements(kind) or {}).values()
        for json_name, type_name in element.json()
    }


def _object(node: etree._Element, kind: str, model: TypeModel) -> Json:
    made: Json = {}
    known = _names(kind, model)
    attributes = {str(name): str(value) for name, value in node.attrib.items()}
    for name in ("id", "url"):
        if name in attributes and name in known:
            made[name] = attributes.pop(name)
    if attributes:
        _refuse(node, f"unknown attribute {next(iter(attributes))[:60]}")
    for child in _children(node):
        if str(child.tag) == f"{{{XHTML}}}div" and "div" in known:
            made["div"] = _markup(child)
            continue
        local = _name(child)
        if local not in known:
            _refuse(child, f"{kind} has no {local[:60]}")
        name, type_name, element = known[local]
        if model.is_primitive(type_name):
            _add_primitive(made, name, child, type_name, element, model)
        else:
            _add(made, name, _complex(child, type_name, model), element.many, child)
    return made


def _complex(node: etree._Element, kind: str, model: TypeModel) -> Json:
    if kind in _RESOURCES:
        inner = list(_children(node))
        if len(inner) != 1 or node.attrib:
            _refuse(node, "one resource is expected here")
        return _resource(inner[0], model)
    return _object(node, kind, model)


def _markup(node: etree._Element) -> str:
    """The narrative as it stands, with the namespace on its root."""
    text = etree.tostring(node, encoding="unicode", with_tail=False)
    foreign = f' xmlns="{FHIR}"'
    return text.replace(foreign, "", 1) if foreign in text.partition(">")[0] else text


def _add(made: Json, name: str, value: Any, many: bool, node: etree._Element) -> None:
    if many:
        made.setdefault(name, []).append(value)
    elif name in made:
        _refuse(node, f"{name} may be there once")
    else:
        made[name] = value


def _add_primitive(made: Json, name: str, node: etree._Element, kind: str, element: Element, model: TypeModel) -> None:
    attributes = {str(key): str(text) for key, text in node.attrib.items()}
    raw = attributes.pop("value", None)
    beside: Json = {"id": attributes.pop("id")} if "id" in attributes else {}
    if attributes:
        _refuse(node, f"unknown attribute {next(iter(attributes))[:60]}")
    for child in _children(node):
        if _name(child) != "extension":
            _refuse(child, f"{kind} has no {_name(child)[:60]}")
        beside.setdefault("extension", []).append(_object(child, "Extension", model))
    value = None if raw is None else _value(node, kind, raw)
    if not element.many:
        if name in made or "_" + name in made:
            _refuse(node, f"{name} may be there once")
        if value is not None:
            made[name] = value
        if beside:
            made["_" + name] = beside
        return
    _append(made, name, value, beside)


def _append(made: Json, name: str, value: Any, beside: Json) -> None:
    """One more value of a repeating primitive; both arrays have the same length, or one of them is not there."""
    before = max(len(made.get(name, ())), len(made.get("_" + name, ())))
    if value is not None or name in made:
        made.setdefault(name, [None] * before).append(value)
    if beside or "_" + name in made:
        made.setdefault("_" + name, [None] * before).append(beside or None)


def _value(node: etree._Element, kind: str, text: str) -> Any:
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind in _INTEGERS:
        digits = text.removeprefix("-").removeprefix("+")
        return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 and text[0] != "+" else text
    if kind == "decimal":
        return _decimal(text)
    return text


def _decimal(text: str) -> Any:
    """The number with its digits; a text that is no JSON number stays text, for the validator to name."""
    try:
        Decimal(text)
        value = json.read(text.strip().encode())
    except (InvalidOperation, Refused, ValueError):
        return text
    return value if isinstance(value, int | Decimal) and not isinstance(value, bool) else text


# --- writing --------------------------------------------------------------------


def write(resource: Json, model: TypeModel) -> bytes:
    """The resource as FHIR XML, elements in the order of the type. Raises `Unreadable` for what R4 does not know."""
    root = _root(resource, model)
    etree.cleanup_namespaces(root, top_nsmap=_NAMESPACES)
    return xml.write(root)


def _root(resource: Any, model: TypeModel) -> etree._Element:
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(kind, str) or model.elements(kind) is None:
        raise Unreadable("GW-CORE-003", format="FHIR JSON", detail="resourceType is missing or not known")
    node = etree.Element(f"{{{FHIR}}}{kind}", nsmap=_NAMESPACES)
    _fill(node, {name: value for name, value in resource.items() if name != "resourceType"}, kind, model, True)
    return node


def _fill(node: etree._Element, value: Json, kind: str, model: TypeModel, resource: bool) -> None:
    known = _names(kind, model)
    unknown = [name for name in value if name.removeprefix("_") not in known]
    if unknown:
        raise Unreadable("GW-CORE-003", format="FHIR JSON", detail=f"{kind} has no {unknown[0][:60]}")
    for name, (_, type_name, _element) in known.items():
        held, beside = value.get(name), value.get("_" + name)
        if held is None and beside is None:
            continue
        if (name == "id" and not resource) or (name == "url" and kind == "Extension"):
            node.set(name, str(held))
        elif type_name == "xhtml":
            node.append(xml.read(str(held).strip().encode()))
        elif model.is_primitive(type_name):
            _write_primitives(node, name, held, beside, model)
        else:
            for each in held if isinstance(held, list) else [held]:
                _write_complex(node, name, each, type_name, model)


def _write_complex(node: etree._Element, name: str, value: Any, kind: str, model: TypeModel) -> None:
    if not isinstance(value, dict):
        raise Unreadable("GW-CORE-003", format="FHIR JSON", detail=f"{name} must be an object")
    child = etree.SubElement(node, f"{{{FHIR}}}{name}")
    if kind in _RESOURCES:
        child.append(_root(value, model))
    else:
        _fill(child, value, kind, model, False)


def _write_primitives(node: etree._Element, name: str, held: Any, beside: Any, model: TypeModel) -> None:
    values = held if isinstance(held, list) else [] if held is None and isinstance(beside, list) else [held]
    extras = beside if isinstance(beside, list) else [beside]
    for at in range(max(len(values), len(extras))):
        value = values[at] if at < len(values) else None
        extra = extras[at] if at < len(extras) else None
        child = etree.SubElement(node, f"{{{FHIR}}}{name}")
        if value is not None:
            try:
                child.set("value", _text(value))
            except ValueError:  # a character that XML cannot carry
                raise Unreadable("GW-CORE-003", format="FHIR JSON", detail=f"{name} has a control character") from None
        if isinstance(extra, dict):
            _fill(child, extra, "Element", model, False)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.write(value).decode()
