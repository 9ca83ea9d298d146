from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gateway import cli
from gateway.errors import Misconfigured, Refused
from gateway.settings import Key
from gateway.sign import dev_ca, life, tokens
from gateway.sign.dev_ca import Authority, Manifest, name, pem
from gateway.sign.keyring import KeyRing
from gateway.sign.keys import KeyHandle, open_key
from gateway.sign.revocation import Folder
from gateway.sign.trust import Trust


def _write(handle: KeyHandle, folder: Path, stem: str) -> Key:
    (folder / f"{stem}.pem").write_bytes(pem(handle.certificate))
    handle.save(folder / f"{stem}.key.pem")
    return Key(certificate=str(folder / f"{stem}.pem"), key=str(folder / f"{stem}.key.pem"))


def test_a_request_is_signed_by_a_key_that_only_we_can_read(tmp_path: Path) -> None:
    """PKCS#10 with the subject that SEPAS wants; openssl agrees with the signature."""
    key, request = life.request(tmp_path / "k", "sepas", "Test Signer", unit="F-1", system="S-1", password=b"word")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    words = ["openssl", "req", "-in", str(request), "-noout", "-verify", "-subject"]
    said = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "OU = F-1" in said.stdout + said.stderr
    assert "verify OK" in said.stdout + said.stderr


def test_an_issued_certificate_is_taken_in_only_for_its_own_key(
    authority: Authority, now: datetime, tmp_path: Path, document_trust: Trust
) -> None:
    """And only when it is trusted; the one that stood there is kept."""
    key = _write(authority.issue(name("Test Signer"), "p256", now), tmp_path, "one")
    held = open_key(key)
    renewed = authority.certify(held.public, name("Test Signer renewed"), now)
    (tmp_path / "issued.pem").write_bytes(pem(renewed))
    assert life.take_in(key, tmp_path / "issued.pem", now, document_trust).certificate == renewed
    assert (tmp_path / "one.pem.previous").read_bytes() == pem(held.certificate)
    foreign = Authority.create("Test root", now).certify(held.public, name("Test Signer"), now)
    (tmp_path / "issued.pem").write_bytes(pem(foreign))
    with pytest.raises(Refused):
        life.take_in(key, tmp_path / "issued.pem", now, document_trust)
    other = authority.issue(name("Test other"), "p256", now)
    (tmp_path / "issued.pem").write_bytes(pem(other.certificate))
    with pytest.raises(Misconfigured):
        life.take_in(key, tmp_path / "issued.pem", now, document_trust)
    assert open_key(key).certificate == renewed


def test_a_rotation_can_be_rehearsed_and_leaves_no_gap(
    authority: Authority, now: datetime, tmp_path: Path, document_trust: Trust
) -> None:
    """Rehearsed: nothing changes. Done: the running ring takes up the new pair, and both are valid meanwhile."""
    key = _write(authority.issue(name("Test Signer"), "p256", now), tmp_path, "old")
    fresh = _write(authority.issue(name("Test Signer"), "p256", now), tmp_path, "new")
    ring = KeyRing({"k": key})
    before = ring.need("k")
    assert life.rotate(key, fresh, now, document_trust, rehearse=True) == ()
    assert ring.need("k").thumbprint == before.thumbprint
    assert life.rotate(key, fresh, now, document_trust) == ()
    after = ring.need("k")
    assert after.thumbprint == open_key(fresh).thumbprint != before.thumbprint
    assert stat.S_IMODE(Path(key.key).stat().st_mode) == 0o600
    for handle in (before, after):
        document_trust.check(handle.certificate, (), now)


@pytest.mark.parametrize("fault", ["gap", "foreign", "mixed"])
def test_a_rotation_that_would_break_something_does_not_happen(
    authority: Authority, now: datetime, tmp_path: Path, document_trust: Trust, fault: str
) -> None:
    """A gap in validity, an issuer that nobody trusts, a key of another certificate."""
    key = _write(authority.issue(name("Test Signer"), "p256", now), tmp_path, "old")
    issuer = Authority.create("Test root", now) if fault == "foreign" else authority
    start = now + timedelta(days=40) if fault == "gap" else None
    end = now + timedelta(days=60) if fault == "gap" else None
    fresh = _write(issuer.issue(name("Test Signer"), "p256", now, start=start, end=end), tmp_path, "new")
    if fault == "mixed":
        fresh = Key(certificate=fresh.certificate, key=key.key)
    content = Path(key.certificate).read_bytes(), Path(key.key).read_bytes()
    trust = None if fault == "gap" else document_trust
    codes = [f.code for f in life.rotate(key, fresh, now, trust)]
    assert codes == [{"gap": "GW-SIGN-037", "foreign": "GW-SIGN-022", "mixed": "GW-SIGN-002"}[fault]]
    assert content == (Path(key.certificate).read_bytes(), Path(key.key).read_bytes())


def test_each_warning_comes_once(authority: Authority, now: datetime) -> None:
    """At 60, 30, 14, 7 and 1 days, whichever was passed since the last look."""
    end = now + timedelta(days=30)
    certificate = authority.issue(name("Test Signer"), "p256", now, end=end).certificate
    day = timedelta(days=1)
    assert life.announced(certificate, end - 31 * day, end - 30 * day) == 30
    assert life.announced(certificate, end - 30 * day, end - 29 * day) is None
    assert life.announced(certificate, end - 20 * day, end - 6 * day) == 7
    assert life.announced(certificate, end - 2 * day, end - day / 2) == 1


def test_a_withdrawn_certificate_is_refused_at_once_everywhere(
    authority: Authority, now: datetime, tmp_path: Path
) -> None:
    """Before its authority says so, and without a restart."""
    handle = authority.issue(name("Test Signer"), "p256", now)
    (tmp_path / "root.crl").write_bytes(authority.crl(now))
    trust = Trust("token", [authority.certificate], Folder(tmp_path))
    rules = tokens.Rules(audience="us", algorithms=("ES256",))
    token = tokens.make(handle, {"aud": "us"}, now)
    tokens.check_with_certificate(token, trust, rules, now)
    life.withdraw(tmp_path, handle.certificate)
    with pytest.raises(Refused) as refused:
        tokens.check_with_certificate(token, trust, rules, now)
    assert refused.value.code == "GW-SIGN-028"


def test_grace_is_recorded_with_an_end_and_ends(authority: Authority, now: datetime, tmp_path: Path) -> None:
    """Who, why, until when; at most two weeks; never without a name."""
    handle = authority.issue(name("Test Signer"), "p256", now)
    trust = Trust("document", [authority.certificate], Folder(tmp_path))
    assert trust.problem(handle.certificate, (), now) == "GW-SIGN-015"
    for until, who, why in (
        (now + timedelta(days=15), "a", "b"),
        (now, "a", "b"),
        (now + timedelta(hours=1), " ", "b"),
    ):
        with pytest.raises(Misconfigured):
            life.forgive(tmp_path, until, who, why, now)
    life.forgive(tmp_path, now + timedelta(hours=1), "Test operator", "CRL host is down", now)
    assert trust.problem(handle.certificate, (), now) is None
    assert trust.problem(handle.certificate, (), now + timedelta(hours=2)) == "GW-SIGN-015"


def test_a_grace_record_that_cannot_be_read_forgives_nothing(
    authority: Authority, now: datetime, tmp_path: Path
) -> None:
    """A typing error must not open the gate."""
    handle = authority.issue(name("Test Signer"), "p256", now)
    trust = Trust("document", [authority.certificate], Folder(tmp_path))
    for record in ('{"until": "2999-01-01T00:00:00"}', '{"until": "2999-01-01", "recorded_by": "x"}', "{", ""):
        (tmp_path / "grace.json").write_text(record)
        assert trust.problem(handle.certificate, (), now) == "GW-SIGN-015"


# --- the command ----------------------------------------


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def site(tmp_path: Path) -> Manifest:
    """A throw-away authority of today, and settings that use it."""
    made = dev_ca.make(tmp_path / "ca")
    (tmp_path / "gateway.toml").write_text(
        f"""
[trust]
signer = "{made.ca}"
revocation = "{made.revocation}"
[key.evidence]
certificate = "{made.evidence.certificate}"
key = "{made.evidence.key}"
purpose = "evidence"
[key.sepas]
certificate = "{made.signer.certificate}"
key = "{made.signer.key}"
[[destination]]
id = "central"
protocol = "p"
peer = "p"
programme = "x"
signing_key = "sepas"
""",
        encoding="utf-8",
    )
    return made


@pytest.fixture
def run(site: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str, config: bool = True) -> tuple[int, str]:
        extra = ["--config", str(tmp_path / "gateway.toml")] if config else []
        code = cli.main(["certs", words[0], *extra, *words[1:]])
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


def test_the_command_lists_and_checks(run: Run, site: Manifest) -> None:
    """Throw-away certificates live for 30 days, so the check warns about them and is not an error."""
    code, said = run("list")
    assert code == 0
    assert "evidence" in said
    assert "T=SYSTEM-1" in said
    code, said = run("list", str(site.ca))
    assert x509.load_pem_x509_certificate(site.ca.read_bytes()).subject.rfc4514_string() in said
    code, said = run("check")
    assert code == 0
    assert "key.sepas GW-SIGN-132" in said
    (site.revocation / "grace.json").write_text("{")
    assert "trust.revocation GW-SIGN-001" in run("check")[1]
    site.evidence.key.chmod(0o644)
    assert "GW-SIGN-133" in run("check")[1]
    site.signer.key.unlink()
    code, said = run("check")
    assert code == 1
    assert "key.sepas GW-SIGN-001" in said


def test_the_command_revokes_forgives_and_rotates(run: Run, site: Manifest, tmp_path: Path) -> None:
    """Each with one clear line, and a code where it is refused."""
    assert run("revoke", str(site.signer.certificate))[0] == 0
    code, said = run("check")
    assert code == 1
    assert "GW-SIGN-028" in said
    assert run("grace", "--hours", "2", "--by", "Test operator", "--reason", "test")[0] == 0
    code, said = run("grace", "--hours", "9999", "--by", "Test operator", "--reason", "test")
    assert code == 1
    assert "GW-CORE-006" in said
    fresh = dev_ca.make(tmp_path / "other")
    words = ("rotate", "evidence", "--certificate", str(fresh.evidence.certificate), "--private-key")
    code, said = run(*words, str(fresh.evidence.key), "--rehearse")
    assert code == 1
    assert "GW-SIGN-022" in said
    code, said = run("csr", str(tmp_path / "new"), "k", "--common-name", "Test Signer", config=False)
    assert code == 0
    assert (tmp_path / "new" / "k.csr.pem").exists()
    assert run("rotate", "nobody", *words[2:], "x")[0] == 1


def test_the_doctor_answers_on_the_command_line(run: Run, site: Manifest, tmp_path: Path) -> None:
    """A token, a message, a certificate, a destination's credential; offline."""
    handle = open_key(Key(certificate=str(site.signer.certificate), key=str(site.signer.key)))
    token = tmp_path / "token"
    token.write_text(tokens.make(handle, {"aud": "us", "iat": 1_800_000_000_000}, datetime.now(UTC)))
    code, said = run("doctor", "--token", str(token), "--audience", "them", "--language", "it")
    assert code == 1
    assert "GW-SIGN-107" in said
    assert "GW-SIGN-123" in said
    (tmp_path / "message.json").write_bytes(b'\xef\xbb\xbf{"a":1}')
    code, said = run("doctor", "--message", str(tmp_path / "message.json"))
    assert code == 1
    assert "GW-SIGN-114" in said
    code, said = run("doctor", "--destination", "central")
    assert code == 0
    assert "GW-SIGN-132" in said
    assert run("doctor", "--certificate", str(site.server.certificate))[0] == 1
    assert run("doctor")[0] == 2


def test_the_command_makes_an_authority(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where everything lies."""
    assert cli.main(["certs", "dev-ca", str(tmp_path / "ca"), "--sender", "one"]) == 0
    said = capsys.readouterr().out
    assert "client one" in said
    assert (tmp_path / "ca" / "client-one.key.pem").exists()
    assert cli.main(["certs", "dev-ca", str(tmp_path / "ca")]) == 1
    assert "GW-SIGN-001" in capsys.readouterr().err
