"""The whole file of a case as one archive that a reviewer verifies without this gateway (فراخوان پرونده).

A ZIP: what was sent to us as it came, the documents with their evidence signatures, every attempt with its bytes and
answer, the later answers, the audit events with their place in the chain, the certificates, and `manifest.json` with
the SHA-256 of each file, itself signed as a detached JWS (`manifest.jws`). `README.txt` says how to check it by hand.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.message import Evidence
from gateway.ports import EvidenceSigner
from gateway.sign import evidence as proof
from gateway.sign import jws
from gateway.sign.trust import Trust

MANIFEST: Final = "manifest.json"
SEAL: Final = "manifest.jws"
ANCHORS: Final = "certificates/anchors.pem"
NOT_LISTED: Final = frozenset({MANIFEST, SEAL})
MAX_BYTES: Final = 2 * 1024 * 1024 * 1024
README: Final = """\
One file of a gateway, put together for a review.

submissions/ID/body            what the sender gave, byte for byte; submission.json has its SHA-256
cases/ID/documents/N-ID.json   what was made of it; N-ID.jws is the signature over exactly these bytes
cases/ID/exchanges/...         each attempt: N.request left, N.reply came back, N.json says when and what it led to
audit/events.json              the audit events; hash = SHA-256(previous + digest), digest = SHA-256(record)
certificates/anchors.pem       the authorities that the signer is judged by: compare their fingerprints with your own
manifest.json                  the SHA-256 and size of every file; manifest.jws is the signature over it

gateway recall --verify FILE [--ca YOUR-ANCHORS.pem] checks all of it and needs no network.
By hand: sha256sum for the files; the signatures are detached JWS with unencoded payload (RFC 7515 appendix F,
RFC 7797) whose header carries the certificates (x5c).

این پرونده برای بررسی گردآوری شده است. manifest.json اثر SHA-256 هر فایل را دارد و manifest.jws امضای آن است؛
دستور بالا همه چیز را بدون شبکه بررسی می‌کند.
"""


def build(
    files: Iterable[tuple[str, bytes]], about: Mapping[str, Any], anchors: bytes, signer: EvidenceSigner, at: datetime
) -> bytes:
    """The archive; the same files give the same archive but for the signature's time."""
    found = {**dict(files), "README.txt": README.encode()}
    if anchors:
        found[ANCHORS] = anchors
    for number, certificate in enumerate(_signers(found)):
        found[f"certificates/signer-{number}.pem"] = certificate
    listed = [{"name": n, "sha256": _digest(b), "bytes": len(b)} for n, b in sorted(found.items())]
    manifest = json.write({"about": dict(about), "made_at": at.isoformat(), "files": listed})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in sorted({**found, MANIFEST: manifest, SEAL: signer.sign(manifest, at).jws.encode()}.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), body)
    return out.getvalue()


def _signers(files: Mapping[str, bytes]) -> list[bytes]:
    """Every certificate that a signature of the archive carries, once."""
    found: dict[bytes, None] = {}
    for name, body in files.items():
        if name.endswith(".jws"):
            for each in jws.certificates_of(jws.header_of(body.decode())):
                found[each.public_bytes(Encoding.PEM)] = None
    return list(found)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# --- verifying ----------------------------------------


class Line(NamedTuple):
    """One thing that was looked at."""

    name: str
    well: bool
    said: str = ""


def verify(archive: bytes, anchors: Iterable[x509.Certificate] = ()) -> Iterator[Line]:
    """Every check, offline. `anchors` are the reviewer's own; without them those of the archive are used."""
    try:
        files = _read(archive)
    except (zipfile.BadZipFile, ValueError) as error:
        yield Line("archive", False, str(error)[:100])
        return
    known = list(anchors) or x509.load_pem_x509_certificates(files[ANCHORS]) if ANCHORS in files or anchors else []
    trust = Trust("document", known, require_revocation=False)
    yield _sealed(files, trust)
    yield from _listed(files)
    for name, body in sorted(files.items()):
        try:
            yield from list(_one(name, body, files, trust))
        except (GatewayError, KeyError, TypeError, AttributeError, ValueError):
            yield Line(name, False, "it cannot be read")


def _read(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        entries = opened.infolist()
        if sum(each.file_size for each in entries) > MAX_BYTES:
            raise ValueError("the archive is too large")
        if len({each.filename for each in entries}) != len(entries):
            raise ValueError("a name stands twice")
        return {each.filename: opened.read(each) for each in entries}


def _sealed(files: Mapping[str, bytes], trust: Trust) -> Line:
    if not files.keys() >= NOT_LISTED:
        return Line(MANIFEST, False, "manifest or its signature is missing")
    return _signature(MANIFEST, files[MANIFEST], files[SEAL].decode("ascii", "replace"), trust)


def _signature(name: str, body: bytes, token: str, trust: Trust) -> Line:
    try:
        header = jws.header_of(token)
        leaf = jws.certificates_of(header)[0]
        signed = Evidence(
            jws=token,
            algorithm=str(header.get("alg")),
            certificate_digest=jws.decode(jws.x5t_s256(leaf)).hex(),
            signed_at=datetime.fromisoformat(str(header.get("sigT"))),
        )
        proof.verify(body, signed, trust)
    except (GatewayError, ValueError, IndexError) as fault:
        return Line(name, False, fault.code if isinstance(fault, Refused) else "the signature cannot be read")
    return Line(name, True, f"signed by {leaf.subject.rfc4514_string()} at {signed.signed_at.isoformat()}")


def _listed(files: Mapping[str, bytes]) -> Iterator[Line]:
    try:
        listed = {each["name"]: each for each in json.read(files[MANIFEST])["files"]}
    except (GatewayError, KeyError, TypeError):
        yield Line(MANIFEST, False, "it cannot be read")
        return
    for name in sorted(files.keys() - listed.keys() - NOT_LISTED):
        yield Line(name, False, "it is not in the manifest")
    for name, each in sorted(listed.items()):
        body = files.get(name)
        if body is None:
            yield Line(name, False, "it is missing")
        elif _digest(body) != each["sha256"]:
            yield Line(name, False, "its bytes are not those of the manifest")
        else:
            yield Line(name, True)


def _one(name: str, body: bytes, files: Mapping[str, bytes], trust: Trust) -> Iterator[Line]:
    """What a file says about another one."""
    if name.endswith(".jws") and name != SEAL:
        document = name.removesuffix(".jws") + ".json"
        yield _signature(document, files.get(document, b""), body.decode("ascii", "replace"), trust)
    elif name.endswith("/submission.json"):
        yield _same(name, body, "digest", files.get(name.removesuffix("submission.json") + "body", b""))
    elif name.endswith(".request"):
        told = name.removesuffix(".request") + ".json"
        yield _same(told, files.get(told, b"{}"), "request_digest", body)
    elif name == "audit/events.json":
        yield from _events(name, body)


def _same(name: str, told: bytes, member: str, body: bytes) -> Line:
    """Bytes that retention has dropped are empty, and said to be."""
    wanted = json.read(told).get(member)
    if not body:
        return Line(name, True, "its bytes were dropped by retention")
    return Line(name, wanted == _digest(body), "" if wanted == _digest(body) else f"{member} is of other bytes")


def _events(name: str, body: bytes) -> Iterator[Line]:
    for each in json.read(body):
        whole = each["digest"] == _digest(each["record"].encode())
        linked = each["hash"] == _digest(f"{each['previous']}{each['digest']}".encode())
        yield Line(f"{name} {each['id']}", whole and linked, "" if whole and linked else "the event was changed")
