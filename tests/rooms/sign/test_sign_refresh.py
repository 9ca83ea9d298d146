from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from gateway.ports import NotSent
from gateway.sign import refresh
from gateway.sign.dev_ca import Authority, name
from gateway.sign.refresh import ListSource, ResponderSource
from gateway.sign.revocation import Folder
from gateway.sign.trust import Trust

SOURCE = ListSource(name="root", peer="lists", url="http://lists.invalid/root.crl")


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Scripted:
    """A network that answers what it was told to, and remembers what it was asked."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, bytes]] = []

    async def request(
        self, peer: str, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Answer:
        self.asked.append((peer, url, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def mllp(self, peer: str, host: str, port: int, frame: bytes, timeout: float) -> bytes:
        raise NotSent


async def _fetch(folder: Path, authority: Authority, *answers: Answer | Exception) -> list[str]:
    network = Scripted(*answers)
    return [await refresh.fetch_list(SOURCE, network, folder, [authority.certificate]) for _ in answers]


async def test_a_fresh_list_takes_effect_without_a_restart(now: datetime, tmp_path: Path) -> None:
    """The trust that is already running sees the revocation."""
    authority = Authority.create("Test root", now)
    handle = authority.issue(name("Test Signer"), "p256", now)
    trust = Trust("token", [authority.certificate], Folder(tmp_path))
    assert trust.problem(handle.certificate, (), now) == "GW-SIGN-015"
    assert await _fetch(tmp_path, authority, Answer(200, authority.crl(now))) == ["fresh"]
    assert trust.problem(handle.certificate, (), now) is None
    authority.revoke(handle.certificate, now - timedelta(hours=1))
    assert await _fetch(tmp_path, authority, Answer(200, authority.crl(now))) == ["fresh"]
    assert trust.problem(handle.certificate, (), now) == "GW-SIGN-012"


@pytest.mark.parametrize("answer", ["gone", "error", "rubbish", "empty", "stranger", "older", "same"])
async def test_what_is_no_better_never_replaces_what_is_held(now: datetime, tmp_path: Path, answer: str) -> None:
    """Nobody can take a revocation back by standing in the way, or by handing out last month's list."""
    authority = Authority.create("Test root", now)
    authority.revoke(authority.issue(name("Test Signer"), "p256", now).certificate, now)
    held = authority.crl(now)
    (tmp_path / "root.crl").write_bytes(held)
    authority.revoked.clear()
    answers: dict[str, tuple[Answer | Exception, str]] = {
        "gone": (NotSent(), "unreachable"),
        "error": (Answer(500, held), "unreachable"),
        "rubbish": (Answer(200, b"<html>login</html>"), "unusable"),
        "empty": (Answer(200, b""), "unusable"),
        "stranger": (Answer(200, Authority.create("Test root", now).crl(now)), "unusable"),
        "older": (Answer(200, authority.crl(now - timedelta(days=1))), "older"),
        "same": (Answer(200, held), "unchanged"),
    }
    given, expected = answers[answer]
    assert await _fetch(tmp_path, authority, given) == [expected]
    assert (tmp_path / "root.crl").read_bytes() == held


async def test_an_ocsp_answer_is_kept_and_judged_when_it_is_used(now: datetime, tmp_path: Path) -> None:
    """A good answer of the issuer makes the certificate good; one about another certificate is not kept."""
    authority = Authority.create("Test root", now)
    handle = authority.issue(name("Test Signer"), "p256", now)
    other = authority.issue(name("Test other"), "p256", now)

    def answer(about: object) -> bytes:
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=about,  # type: ignore[arg-type]
            issuer=authority.certificate,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - timedelta(minutes=1),
            next_update=now + timedelta(days=1),
            revocation_time=None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
        return authority.handle.respond(builder).public_bytes(Encoding.DER)

    source = ResponderSource(name="root", peer="ocsp", url="http://ocsp.invalid/")
    answers = [answer(other.certificate), b"rubbish", answer(handle.certificate)]
    network = Scripted(*(Answer(200, a) for a in answers), NotSent())
    results = [
        await refresh.fetch_status(source, network, tmp_path, handle.certificate, authority.certificate)
        for _ in range(4)
    ]
    assert results == ["unusable", "unusable", "fresh", "unreachable"]
    assert ocsp.load_der_ocsp_request(network.asked[0][2]).serial_number == handle.certificate.serial_number
    trust = Trust("token", [authority.certificate], Folder(tmp_path))
    assert trust.problem(handle.certificate, (), now) is None
    assert trust.problem(other.certificate, (), now) == "GW-SIGN-015"


def test_a_list_is_due_at_half_its_life(now: datetime, tmp_path: Path) -> None:
    """Early enough that one failed fetch hurts nobody."""
    authority = Authority.create("Test root", now)
    assert refresh.due(tmp_path, "root", now)
    (tmp_path / "root.crl").write_bytes(authority.crl(now, valid=timedelta(days=10)))
    assert not refresh.due(tmp_path, "root", now + timedelta(days=4))
    assert refresh.due(tmp_path, "root", now + timedelta(days=6))
