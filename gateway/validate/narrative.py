"""Narrative: the XHTML rules (FHIR R4 2.25.1, txt-1, txt-2).

Only the basic formatting elements and attributes of HTML 4.0 chapters 7-11 (except section 4 of chapter 9) and 15,
`a` with name or href, images and internal style; no scripts, forms, frames, objects, events, or references to
external styles. The content must be well-formed XML in the XHTML namespace with some text or an image.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from lxml import etree

from gateway.errors import Refused
from gateway.formats import xml
from gateway.message import Json
from gateway.validate.run import Path, Run, shown

Handler = Callable[[Any, Json, Path, Run], None]

XHTML: Final = "http://www.w3.org/1999/xhtml"
_PREFIX: Final = "{" + XHTML + "}"
ELEMENTS: Final = (
    frozenset({"p", "br", "div", "h1", "h2", "h3", "h4", "h5", "h6", "a", "span", "b", "em", "i", "strong", "small"})
    | {"big", "tt", "dfn", "q", "var", "abbr", "acronym", "cite", "blockquote", "hr", "address", "bdo", "kbd", "code"}
    | {"samp", "img", "map", "area", "pre", "table", "caption", "colgroup", "col", "thead", "tr", "tfoot", "tbody"}
    | {"th", "td", "ul", "ol", "li", "dl", "dt", "dd", "sub", "sup", "ins", "del", "strike", "s", "u"}
)
_QUALIFIED: Final = frozenset(_PREFIX + name for name in ELEMENTS)
ATTRIBUTES: Final = frozenset(
    {"title", "style", "class", "id", "lang", "dir", "accesskey", "tabindex", "start"}
    | {"align", "valign", "width", "height", "border"}
)
_OF_ELEMENT: Final[dict[str, frozenset[str]]] = {
    "a": frozenset({"href", "name", "charset", "type", "hreflang", "rel", "rev", "shape", "coords", "target"}),
    "img": frozenset({"src", "alt", "longdesc", "usemap", "ismap", "name", "hspace", "vspace"}),
    "area": frozenset({"shape", "coords", "href", "nohref", "alt"}),
    "map": frozenset({"name"}),
    "q": frozenset({"cite"}),
    "blockquote": frozenset({"cite"}),
    "ins": frozenset({"cite", "datetime"}),
    "del": frozenset({"cite", "datetime"}),
    "table": frozenset({"summary", "cellspacing", "cellpadding", "frame", "rules", "bgcolor"}),
    "td": frozenset({"colspan", "rowspan", "abbr", "axis", "headers", "scope", "nowrap", "char", "charoff", "bgcolor"}),
    "th": frozenset({"colspan", "rowspan", "abbr", "axis", "headers", "scope", "nowrap", "char", "charoff", "bgcolor"}),
    "tr": frozenset({"char", "charoff", "bgcolor"}),
    "col": frozenset({"span", "char", "charoff"}),
    "colgroup": frozenset({"span", "char", "charoff"}),
    "tbody": frozenset({"char", "charoff"}),
    "thead": frozenset({"char", "charoff"}),
    "tfoot": frozenset({"char", "charoff"}),
    "ol": frozenset({"type", "compact"}),
    "ul": frozenset({"type", "compact"}),
    "li": frozenset({"type", "value"}),
    "br": frozenset({"clear"}),
    "hr": frozenset({"noshade", "size"}),
    "pre": frozenset({"space", "{http://www.w3.org/XML/1998/namespace}space"}),
    "div": frozenset({"{http://www.w3.org/XML/1998/namespace}space"}),
}
_XML_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "sms", "ftp", "file", "data", "cid", "fax"})
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ACTIVE_STYLE: Final = re.compile(r"expression\s*\(|url\s*\(\s*['\"]?\s*(?:javascript|https?)\s*:", re.IGNORECASE)


def parse(div: str) -> etree._Element | None:
    """The `div` as a tree, or None where it is not well-formed."""
    try:
        return xml.read(div.strip().encode("utf-8", "surrogatepass"))
    except Refused:
        return None


def faults(root: etree._Element) -> list[tuple[str, str]]:
    """(finding code, what) for everything in the tree that narrative may not have."""
    found: list[tuple[str, str]] = []
    if root.tag != _PREFIX + "div":
        found.append(("GW-VAL-039", "the outermost element is not div in the XHTML namespace"))
        return found
    for node in root.iter():
        tag: object = node.tag
        if tag is etree.Comment:
            continue
        if not isinstance(tag, str):
            found.append(("GW-VAL-040", "a processing instruction"))
        elif tag not in _QUALIFIED:
            found.append(("GW-VAL-040", f"element {shown(node.tag.rpartition('}')[2])}"))
        elif node.attrib:
            found += _attribute_faults(node, node.tag[len(_PREFIX) :])
    return found


def _attribute_faults(node: etree._Element, tag: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for raw, value in node.attrib.items():
        name, text = str(raw), str(value)
        if name not in ATTRIBUTES and name != _XML_LANG and name not in _OF_ELEMENT.get(tag, ()):
            found.append(("GW-VAL-040", f"attribute {shown(name)} of {tag}"))
        elif name == "href" or (name == "src" and tag == "img"):
            scheme = _SCHEME.match(text)
            if scheme and scheme[1].lower() not in _SCHEMES:
                found.append(("GW-VAL-041", f"{scheme[1]}: in {tag}"))
        elif name == "style" and _ACTIVE_STYLE.search(text):
            found.append(("GW-VAL-040", f"style of {tag}"))
    return found


def has_content(root: etree._Element) -> bool:
    """txt-2: some text that is not white space, or an image."""
    if any(not text.isspace() for text in root.itertext(etree.Element)):
        return True
    return any(node.tag == _PREFIX + "img" for node in root.iter())


def html_checks(div: str) -> bool:
    """FHIRPath `htmlChecks()`: whether the XHTML keeps the rules of narrative."""
    root = parse(div)
    return root is not None and not faults(root) and has_content(root)


def handler(name: str) -> Handler:
    """The handler of an xhtml member."""

    def check_div(value: Any, obj: Json, path: Path, run: Run) -> None:
        here = (path, name, -1, "xhtml")
        if type(value) is not str:
            run.say("GW-VAL-005", here, args={"expected": "string", "found": type(value).__name__})
            return
        root = parse(value)
        if root is None:
            run.say("GW-VAL-039", here, args={"detail": "it is not well-formed XML without a document type"})
            return
        for code, what in faults(root):
            run.say(code, here, severity=run.policy.narrative, args={"detail": what}, source="txt-1")
        if not has_content(root):
            run.say("GW-VAL-042", here, source="txt-2")

    return check_div


def check(value: Any, path: Path, run: Run) -> None:
    """Links inside the narrative to an anchor that is not there (`#name`)."""
    div = value.get("div")
    if type(div) is not str or "#" not in div:
        return
    root = parse(div)
    if root is None:
        return
    known: set[str] | None = None
    for node in root.iter(_PREFIX + "a", _PREFIX + "img"):
        target = str(node.get("href") or node.get("src") or "")
        if len(target) < 2 or target[0] != "#":
            continue
        if known is None:
            known = run.anchors = run.anchors or anchors(run.root)
        if target[1:] not in known:
            run.say("GW-VAL-043", (path, "div", -1, "xhtml"), args={"target": shown(target)})


def language_sections(div: str) -> list[str]:
    """The languages of the sections (`div` with a language) of a narrative in several languages."""
    root = parse(div)
    if root is None:
        return []
    return [lang for node in root if node.tag == _PREFIX + "div" and (lang := str(node.get(_XML_LANG) or ""))]


def anchors(resource: Json) -> set[str]:
    """Everything that a link may point to: ids of elements and resources, ids and names in narratives."""
    found: set[str] = set()
    todo: list[Any] = [resource]
    while todo:
        each = todo.pop()
        if type(each) is list:
            todo.extend(each)
        elif type(each) is dict:
            if type(each.get("id")) is str:
                found.add(each["id"])
            if type(each.get("div")) is str and (root := parse(each["div"])) is not None:
                for node in root.iter():
                    found |= {str(v) for k, v in node.attrib.items() if k in ("id", "name")}
            todo.extend(each.values())
    return found
