"""The archive of a recalled file: a reviewer needs nothing of ours to find out that something was changed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from gateway import recalling
from gateway.commands import recall
from gateway.formats import json
from gateway.settings import Key
from gateway.sign import dev_ca
from gateway.sign.evidence import EvidenceMaker
from gateway.sign.keys import open_key

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dev_ca.Manifest:
    return dev_ca.make(tmp_path_factory.mktemp("ca"), ("sender",), ("destination",), now=NOW - timedelta(hours=1))


@pytest.fixture(scope="module")
def signer(authority: dev_ca.Manifest) -> EvidenceMaker:
    pair = authority.evidence
    return EvidenceMaker(open_key(Key(certificate=str(pair.certificate), key=str(pair.key), purpose="evidence")))


def digest(body: bytes) -> str:
    return sha256(body).hexdigest()


@pytest.fixture(scope="module")
def archive(authority: dev_ca.Manifest, signer: EvidenceMaker) -> bytes:
    document, request, body = b'{"resourceType":"Bundle"}', b"POST http://x HTTP/1.1\r\n\r\nbody", b"MSH|..."
    record = json.write({"type": "rest", "agent": "operator"}).decode()
    first = digest(("0" * 64 + digest(record.encode())).encode())
    event = {"id": "1-1", "record": record, "digest": digest(record.encode()), "previous": "0" * 64, "hash": first}
    files = {
        "submissions/s/body": body,
        "submissions/s/submission.json": json.write({"id": "s", "digest": digest(body)}),
        "cases/c/documents/1-d.json": document,
        "cases/c/documents/1-d.jws": signer.sign(document, NOW).jws.encode(),
        "cases/c/exchanges/d/e/1.request": request,
        "cases/c/exchanges/d/e/1.json": json.write({"request_digest": digest(request)}),
        "audit/events.json": json.write([event]),
    }
    return recalling.build(files.items(), {"case": "c"}, authority.ca.read_bytes(), signer, NOW)


def changed(archive: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    change(files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, body in files.items():
            made.writestr(name, body)
    return out.getvalue()


def wrong(archive: bytes) -> list[str]:
    return [each.name for each in recalling.verify(archive) if not each.well]


def test_a_whole_archive_verifies_and_names_its_signers(
    archive: bytes, authority: dev_ca.Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reviewer's own anchors go before those that lie in the archive."""
    assert wrong(archive) == []
    (tmp_path / "a.zip").write_bytes(archive)
    assert recall.check(tmp_path / "a.zip", authority.ca) == 0
    assert "signed by" in capsys.readouterr().out


def test_strangers_anchors_accept_nothing(archive: bytes, tmp_path: Path) -> None:
    """An archive that brings its own authority proves nothing to somebody who has another one."""
    other = dev_ca.make(tmp_path / "other", ("s",), ("d",), now=NOW)
    (tmp_path / "a.zip").write_bytes(archive)
    assert recall.check(tmp_path / "a.zip", other.ca) == 1


@pytest.mark.parametrize(
    "name",
    [
        "submissions/s/body",
        "cases/c/documents/1-d.json",
        "cases/c/exchanges/d/e/1.request",
        "cases/c/exchanges/d/e/1.json",
        "audit/events.json",
        "manifest.json",
    ],
)
def test_a_changed_byte_is_found(archive: bytes, name: str) -> None:
    """Whichever file it is in."""

    def change(files: dict[str, bytes]) -> None:
        files[name] = files[name].replace(b"e", b"E", 1) if b"e" in files[name] else files[name] + b"x"

    assert wrong(changed(archive, change))


def test_a_file_that_is_gone_or_put_in_is_found(archive: bytes) -> None:
    """The manifest lists all there is, and nothing else may be there."""
    assert wrong(changed(archive, lambda files: files.pop("submissions/s/body") and None)) != []
    assert "extra" in wrong(changed(archive, lambda files: files.update(extra=b"x")))


def test_a_manifest_that_was_made_again_fails_by_its_signature(archive: bytes) -> None:
    """Who changes a file and the manifest with it still lacks the key."""

    def change(files: dict[str, bytes]) -> None:
        files["submissions/s/body"] = b"other"
        manifest = json.read(files["manifest.json"])
        for each in manifest["files"]:
            if each["name"] == "submissions/s/body":
                each |= {"sha256": digest(b"other"), "bytes": 5}
        files["manifest.json"] = json.write(manifest)

    found = wrong(changed(archive, change))
    assert "manifest.json" in found
    assert "submissions/s/submission.json" in found


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    """A reviewer gets a line, not a traceback."""
    (tmp_path / "a.zip").write_bytes(b"PK no")
    assert recall.check(tmp_path / "a.zip", None) == 1
