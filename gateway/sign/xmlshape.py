"""The strict shape of signed XML: what is looked at before any signature is.

Signature wrapping lives from documents that two readers understand differently. So the document is parsed once, by
our parser; comments, processing instructions and repeated ids are refused; the signature stands in one place; its
algorithms and transforms are on a list; and afterwards the bytes that the library verified must be the canonical
bytes of exactly the elements at the places that we require. Only those bytes are handed on.

Sources: XML Signature Syntax and Processing 1.1; McIntosh and Austel (2005) and Somorovsky et al. (2012) on wrapping.
"""

from __future__ import annotations

import base64
import copy
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from gateway.errors import Refused
from gateway.formats import xml
from gateway.sign import algorithms, certificates

# at debug level the library logs the canonical bytes themselves (promise 10)
logging.getLogger("signxml").setLevel(logging.CRITICAL + 1)

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
C14N11: Final = "http://www.w3.org/2006/12/xml-c14n11"
EXC_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED: Final = DS + "enveloped-signature"
CANONICAL: Final = frozenset({C14N, C14N11, EXC_C14N})
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
DIGESTS: Final = {
    SHA256: DigestAlgorithm.SHA256,
    "http://www.w3.org/2001/04/xmldsig-more#sha384": DigestAlgorithm.SHA384,
    "http://www.w3.org/2001/04/xmlenc#sha512": DigestAlgorithm.SHA512,
}
METHODS: Final = {
    "RS256": SignatureMethod.RSA_SHA256,
    "RS384": SignatureMethod.RSA_SHA384,
    "RS512": SignatureMethod.RSA_SHA512,
    "ES256": SignatureMethod.ECDSA_SHA256,
    "ES384": SignatureMethod.ECDSA_SHA384,
}


def ds(name: str) -> str:
    """A name in the XML-DSig namespace, as lxml writes it."""
    return f"{{{DS}}}{name}"


def strict_root(body: bytes) -> etree._Element:
    """The root of a document in which nothing can hide: no DTD, comment, processing instruction or repeated id."""
    root = xml.read(body)
    if (_may_hide(body, root) and _HIDING(root)) or root.getprevious() is not None or root.getnext() is not None:
        raise Refused("GW-SIGN-049")
    if _may_repeat_ids(body, root):
        found = _IDS(root)
        ids = [str(value) for value in found] if isinstance(found, list) else []
        if len(ids) != len(set(ids)):
            raise Refused("GW-SIGN-048")
    return root


def _may_hide(body: bytes, root: etree._Element) -> bool:
    """False where no comment and no instruction can begin: behind the XML declaration there is neither of the two
    characters that they need, and these have one spelling each. Looking for one byte costs nothing.
    """
    start = body.find(b"?>") + 2 if body.startswith(b"<?xml ") else 0
    return not ascii_stands(root) or b"!" in body or body.find(b"?", start) >= 0


def _may_repeat_ids(body: bytes, root: etree._Element) -> bool:
    """False where fewer than two attributes can be called id: no character of a name can be written otherwise, once
    the encoding is one in which ASCII stands for itself and there is no DTD. Asking the tree costs as much as parsing.
    """
    return not ascii_stands(root) or ids_written(body) > 1


def ids_written(body: bytes) -> int:
    """How often an attribute that is called id could begin in these bytes, counted up to two.

    Looking for the two letters and then around them takes a tenth of the time of a pattern, unless they are
    everywhere: then the pattern counts.
    """
    lower, found = body.lower(), 0
    at = lower.find(b"id")
    for _ in range(_MOST_LOOKS):
        if at < 0 or found > 1:
            return found
        behind = lower[at + 2 : at + 34].lstrip(_SPACE)
        if at and lower[at - 1] in _BEFORE_ID and behind[:1] in (b"=", b""):
            found += 1
        at = lower.find(b"id", at + 1)
    return min(len(_ID_WRITTEN.findall(body)), 2)


def ascii_stands(root: etree._Element) -> bool:
    """Whether the document was read in an encoding in which every ASCII byte is that character."""
    return str(root.getroottree().docinfo.encoding or "UTF-8").upper() in _PLAIN


def is_utf8(root: etree._Element) -> bool:
    """Whether the document was read as UTF-8."""
    return str(root.getroottree().docinfo.encoding or "UTF-8").upper() in {"UTF-8", "UTF8"}


_HIDING: Final = etree.XPath("//comment() | //processing-instruction()")
_PLAIN: Final = frozenset({"UTF-8", "UTF8", "US-ASCII", "ASCII", "ISO-8859-1"})
_SPACE: Final = b" \t\n\r\f\v"
_BEFORE_ID: Final = _SPACE + b":"
_MOST_LOOKS: Final = 1000
_ID_WRITTEN: Final = re.compile(rb"[\s:][iI][dD]\s*=")
_IDS: Final = etree.XPath("//@*[translate(local-name(), 'ID', 'id') = 'id']")


def whole(root: etree._Element) -> frozenset[str]:
    """The URIs that mean the whole document: the empty one, and the root's own id (ids are unique by then)."""
    ids = (str(v) for n, v in root.attrib.items() if etree.QName(n).localname.lower() == "id")
    return frozenset({"", *(f"#{v}" for v in ids)})


def only(found: Sequence[etree._Element], where: str) -> etree._Element:
    """The one element; several or none are refused."""
    if len(found) != 1:
        raise Refused("GW-SIGN-046", where=where)
    return found[0]


def the_signature(root: etree._Element, parent: etree._Element) -> etree._Element:
    """The only signature of the document, which has to be a child of `parent`."""
    signature = only(list(root.iter(ds("Signature"))), "Signature")
    if signature.getparent() is not parent or next(root.iter(ds("Manifest")), None) is not None:
        raise Refused("GW-SIGN-046", where="Signature")
    return signature


def children(element: etree._Element, names: Sequence[str], optional: Sequence[str] = ()) -> list[etree._Element]:
    """The children of the element, which have to be exactly these, in order; `optional` ones may follow."""
    found = list(element)
    tags = [child.tag for child in found]
    if tags[: len(names)] != list(names) or any(t not in optional for t in tags[len(names) :]):
        raise Refused("GW-SIGN-046", where=etree.QName(element).localname)
    return found


def references(signature: etree._Element) -> list[etree._Element]:
    """The references, once SignedInfo has the plain shape and a canonicalisation from the list."""
    info = signature[0]
    if info.tag != ds("SignedInfo") or len(info) < 3:
        raise Refused("GW-SIGN-046", where="SignedInfo")
    found = list(info)
    tags = [child.tag for child in found]
    if tags[:2] != [ds("CanonicalizationMethod"), ds("SignatureMethod")] or set(tags[2:]) != {ds("Reference")}:
        raise Refused("GW-SIGN-046", where="SignedInfo")
    if found[0].get("Algorithm") not in CANONICAL:
        raise Refused("GW-SIGN-049")
    return found[2:]


def check_transforms(reference: etree._Element, allowed: Sequence[Sequence[str]]) -> str:
    """The canonicalisation of a reference whose transforms are one of the allowed lists; digests of SHA-2 only."""
    transforms = list(reference.iter(ds("Transform")))
    names = [str(t.get("Algorithm")) for t in transforms]
    if names not in [list(a) for a in allowed]:
        raise Refused("GW-SIGN-049")
    for each in transforms:
        inner = [etree.QName(c) for c in each]
        if any(q.namespace != EXC_C14N or q.localname != "InclusiveNamespaces" for q in inner):
            raise Refused("GW-SIGN-049")
    method = reference.find(ds("DigestMethod"))
    if method is None or method.get("Algorithm") not in DIGESTS:
        raise Refused("GW-SIGN-041", algorithm="digest")
    return names[-1] if names and names[-1] in CANONICAL else ""


def canonical(element: etree._Element, algorithm: str, prefixes: Sequence[str] = ()) -> bytes:
    """The canonical bytes of the element, without comments."""
    exclusive = algorithm == EXC_C14N
    made: bytes = etree.tostring(
        element if exclusive else standing_alone(element, algorithm),
        method="c14n",
        exclusive=exclusive,
        with_comments=False,
        inclusive_ns_prefixes=list(prefixes) or None,
    )
    return made


def standing_alone(element: etree._Element, algorithm: str) -> etree._Element:
    """The element as the root of a document of its own, with what inclusive canonicalisation takes from above it.

    lxml canonicalises a part of a tree wrongly where default namespaces meet (it writes xmlns="" that is not there),
    so that signatures as Java, .NET and libxmlsec write them would not verify; and it leaves out the attributes of the
    xml namespace that a part inherits (Canonical XML 1.0 section 2.4; 1.1 inherits xml:lang and xml:space only).
    """
    taken = inherited(element, algorithm)
    if element.getparent() is None or (None not in element.nsmap and not taken):
        return element
    return _dressed(xml.read(etree.tostring(element, with_tail=False)), taken)


def inherited(element: etree._Element, algorithm: str) -> dict[str, str]:
    """The attributes of the xml namespace that inclusive canonicalisation takes from above the element."""
    taken: dict[str, str] = {}
    for above in element.iterancestors():
        for name, value in above.attrib.items():
            if str(name).startswith(_XML) and (algorithm == C14N or str(name) in _INHERITED):
                taken.setdefault(str(name), str(value))
    return taken


def _dressed(element: etree._Element, attributes: Mapping[str, str]) -> etree._Element:
    for name, value in attributes.items():
        if element.get(name) is None:
            element.set(name, value)
    return element


_XML: Final = "{http://www.w3.org/XML/1998/namespace}"
_INHERITED: Final = frozenset({f"{_XML}lang", f"{_XML}space"})


class _Verifier(XMLVerifier):
    """signxml, with parts of a document canonicalised as above; it takes the signature out, away from its ancestors."""

    def __init__(self, signature: etree._Element) -> None:
        super().__init__()
        self._place = signature

    def _c14n(self, nodes: Any, algorithm: CanonicalizationMethod, inclusive_ns_prefixes: Any = None) -> bytes:
        if not isinstance(nodes, list) and not algorithm.value.startswith(EXC_C14N):
            taken = inherited(self._place[0], algorithm.value) if nodes.tag == ds("SignedInfo") else {}
            whole = _dressed(xml.read(etree.tostring(nodes, with_tail=False)), taken) if taken else nodes
            nodes = standing_alone(whole, algorithm.value)
        return bytes(super()._c14n(nodes, algorithm, inclusive_ns_prefixes))

    def _apply_transforms(self, payload: Any, *, transforms_node: Any, signature: Any) -> Any:
        """A part of the document keeps what it inherits: the library takes it out of its place before."""
        names = [] if transforms_node is None else [str(t.get("Algorithm")) for t in transforms_node]
        method = names[-1] if names else C14N
        if method in (C14N, C14N11) and isinstance(payload, etree._Element) and payload.getparent() is not None:
            taken = inherited(payload, method)
            payload = _dressed(xml.read(etree.tostring(payload, with_tail=False)), taken) if taken else payload
        return super()._apply_transforms(payload, transforms_node=transforms_node, signature=signature)


def prefixes(reference: etree._Element) -> list[str]:
    """The PrefixList of a reference's exclusive canonicalisation."""
    found = reference.find(f".//{{{EXC_C14N}}}InclusiveNamespaces")
    return [] if found is None else str(found.get("PrefixList", "")).split()


def without(root: etree._Element, signature: etree._Element) -> etree._Element:
    """A copy of the document without its signature (the enveloped-signature transform)."""
    index = [e for e in root.iter() if isinstance(e.tag, str)].index(signature)
    made = copy.deepcopy(root)
    removed = [e for e in made.iter() if isinstance(e.tag, str)][index]
    parent, before = removed.getparent(), removed.getprevious()
    assert parent is not None
    if removed.tail:
        if before is not None:
            before.tail = (before.tail or "") + removed.tail
        else:
            parent.text = (parent.text or "") + removed.tail
    parent.remove(removed)
    return made


def certificates_in(element: etree._Element, tag: str) -> list[x509.Certificate]:
    """The certificates in elements of that name, base64 DER."""
    try:
        return [
            certificates.load(base64.b64decode("".join((e.text or "").split()), validate=True))
            for e in element.iter(tag)
        ]
    except ValueError:
        raise Refused("GW-SIGN-040", detail="a certificate cannot be read") from None


def verified(
    root: etree._Element, signature: etree._Element, certificate: x509.Certificate, at: datetime, count: int
) -> list[bytes]:
    """The bytes that each reference covers, in order, verified by signxml with exactly this certificate."""
    allowed = [METHODS[a] for a in algorithms.allowed(algorithms.public_key(certificate)) if a in METHODS]
    claimed = signature[0][1].get("Algorithm")
    if claimed not in {m.value for m in allowed}:
        raise Refused("GW-SIGN-041", algorithm=str(claimed)[:80])
    config = SignatureConfiguration(
        expect_references=count,
        signature_methods=frozenset(allowed),
        digest_algorithms=frozenset(DIGESTS.values()),
        location=_location(signature),
        default_reference_c14n_method=CanonicalizationMethod.CANONICAL_XML_1_0,
        verification_time=at,
    )
    try:
        results = _Verifier(signature).verify(root, x509_cert=certificate, expect_config=config)
    except (SignXMLException, ValueError, TypeError, AttributeError, etree.LxmlError):
        raise Refused("GW-SIGN-042") from None
    found = results if isinstance(results, list) else [results]
    return [bytes(each.signed_data) for each in found]


def _location(signature: etree._Element) -> str:
    steps: list[str] = []
    at = signature.getparent()
    while at is not None and at.getparent() is not None:
        steps.append(str(at.tag))
        at = at.getparent()
    return "./" + "".join(f"{step}/" for step in reversed(steps))


def must_be(covered: bytes, expected: bytes) -> None:
    """Promise that what was verified is what stands at the required place."""
    if covered != expected or not covered:
        raise Refused("GW-SIGN-047", where="content")
