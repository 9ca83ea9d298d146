"""`gateway certs …`: keys, certificates and what is wrong with them, one clear line a thing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.errors import Misconfigured, finding, mend, text
from gateway.message import Finding, Language
from gateway.settings import Key, Settings, secret
from gateway.sign import dev_ca, doctor, doctor_forms, life
from gateway.sign.keys import open_key, read_certificates, subject_of
from gateway.sign.revocation import FINGERPRINT
from gateway.sign.trust import Trust

_CONFIG: Final = Path("gateway.toml")


def add(subparsers: Any) -> None:
    """Declare the command and its actions."""
    certs = subparsers.add_parser("certs", help="keys, certificates and trust")
    actions = certs.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_dev_ca(actions)
    _add_looking(actions)
    _add_making(actions)
    _add_doctor(actions)


def _action(actions: Any, name: str, run: Any, help: str, config: bool = True) -> Any:
    made = actions.add_parser(name, help=help)
    if config:
        made.add_argument("--config", type=Path, default=_CONFIG, help="settings file (gateway.toml)")
    made.set_defaults(run=run)
    return made


def _add_dev_ca(actions: Any) -> None:
    made = _action(actions, "dev-ca", _dev_ca, "make a throw-away certificate authority with keys", config=False)
    made.add_argument("folder", type=Path)
    made.add_argument("--sender", action="append", default=[], help="a client certificate for this sender")
    made.add_argument("--destination", action="append", default=[], help="a server certificate for this stand-in")
    made.add_argument("--facility", default="FACILITY-1", help="OU of the signer")
    made.add_argument("--system", default="SYSTEM-1", help="T of the signer")


def _add_looking(actions: Any) -> None:
    made = _action(actions, "list", _list, "every key of the settings, or the certificates of files")
    made.add_argument("files", nargs="*", type=Path)
    made = _action(actions, "check", _check, "what is wrong or will be within 60 days")
    made.add_argument("--language", choices=("en", "fa", "it", "zh"), default="en")


def _add_making(actions: Any) -> None:
    made = _action(actions, "csr", _csr, "a fresh key and a request for it", config=False)
    made.add_argument("folder", type=Path)
    made.add_argument("name", help="stem of the files")
    made.add_argument("--common-name", required=True)
    made.add_argument("--facility", default="", help="OU")
    made.add_argument("--system", default="", help="T")
    made.add_argument("--kind", choices=("p256", "p384", "rsa2048", "rsa3072", "rsa4096", "ed25519"), default="p256")
    made.add_argument("--password", default="", help="env:NAME or a file")
    made = _action(actions, "import", _import, "put an issued certificate at its key's place")
    made.add_argument("key", help="name under [key.NAME]")
    made.add_argument("file", type=Path)
    made = _action(actions, "rotate", _rotate, "exchange a key and its certificate for a new pair")
    made.add_argument("key", help="name under [key.NAME]")
    made.add_argument("--certificate", type=Path, required=True)
    made.add_argument("--private-key", type=Path, required=True)
    made.add_argument("--rehearse", action="store_true", help="say what speaks against it, change nothing")
    made = _action(actions, "revoke", _revoke, "stop trusting a certificate at once")
    made.add_argument("file", type=Path)
    made = _action(actions, "grace", _grace, "accept unknown revocation status until an end")
    made.add_argument("--hours", type=float, required=True)
    made.add_argument("--by", required=True, help="who decided")
    made.add_argument("--reason", required=True)


def _add_doctor(actions: Any) -> None:
    made = _action(actions, "doctor", _doctor, "say offline what a peer will refuse, and why")
    made.add_argument("--destination", default="", help="its credential, as the destination's authority sees it")
    made.add_argument("--token", type=Path, help="a file with a JWT")
    made.add_argument("--message", type=Path, help="a SOAP, XML or JSON file")
    made.add_argument("--certificate", type=Path, help="a certificate file with its chain")
    made.add_argument("--profile", choices=("fse-bearer", "fse-signature", "modi"), default="")
    made.add_argument("--audience", default="")
    made.add_argument("--file", type=Path, help="the bytes that the token's hash is of")
    made.add_argument("--body", type=Path, help="the request body as it leaves")
    made.add_argument("--tls", type=Path, help="the certificate used for TLS")
    made.add_argument("--language", choices=("en", "fa", "it", "zh"), default="en")


def _now() -> datetime:
    return SystemClock().now()


def _say(found: Iterable[Finding], language: Language, before: str = "") -> int:
    """One line a finding; 1 when one of them is an error."""
    worst = 0
    for each in found:
        print(f"{before}{each.code} {text(each, language)} {mend(each, language)}".rstrip())
        worst = max(worst, int(each.severity == "error"))
    return worst


def _dev_ca(arguments: Namespace) -> int:
    made = dev_ca.make(
        arguments.folder,
        arguments.sender or ("sender",),
        arguments.destination or ("destination",),
        facility=arguments.facility,
        system_id=arguments.system,
        now=_now(),
    )
    print(f"anchors      {made.ca}")
    print(f"revocation   {made.crl}")
    pairs = {"server": made.server, "evidence": made.evidence, "signer": made.signer}
    pairs |= {f"client {k}": v for k, v in made.clients.items()}
    pairs |= {f"destination {k}": v for k, v in made.destinations.items()}
    for name, pair in pairs.items():
        print(f"{name:12} {pair.certificate} {pair.key}")
    return 0


def _list(arguments: Namespace) -> int:
    for file in arguments.files:
        for each in read_certificates(file):
            days = (each.not_valid_after_utc - _now()).days
            print(f"{each.fingerprint(FINGERPRINT).hex()} {days:5} days {subject_of(each)}")
    if not arguments.files:
        for listed in life.listing(configuration.load(arguments.config), _now()):
            end = listed.not_after.date().isoformat()
            print(
                f"{listed.name:12} {listed.purpose:11} {end} {listed.days:5} days {listed.algorithm:6} {listed.subject}"
            )
    return 0


def _check(arguments: Namespace) -> int:
    worst, count = 0, 0
    for name, found in life.check(configuration.load(arguments.config), _now()):
        worst = max(worst, _say([found], arguments.language, f"{name} "))
        count += 1
    if not count:
        print("nothing is wrong, and nothing expires within 60 days")
    return worst


def _csr(arguments: Namespace) -> int:
    password = secret(arguments.password) if arguments.password else b""
    key, made = life.request(
        arguments.folder,
        arguments.name,
        arguments.common_name,
        unit=arguments.facility,
        system=arguments.system,
        kind=arguments.kind,
        password=password,
    )
    print(f"key      {key}\nrequest  {made}")
    return 0


def _named(settings: Settings, name: str) -> Key:
    if name not in settings.key:
        raise Misconfigured("GW-SIGN-001", what=f"key.{name}", detail="it is not in the settings")
    return settings.key[name]


def _own_trust(settings: Settings) -> Trust | None:
    return life.trust_for(settings, "signer") if "signer" in settings.trust else None


def _import(arguments: Namespace) -> int:
    settings = configuration.load(arguments.config)
    handle = life.take_in(_named(settings, arguments.key), arguments.file, _now(), _own_trust(settings))
    print(f"{arguments.key} is now {handle.subject}, until {handle.not_after.date().isoformat()}")
    return 0


def _rotate(arguments: Namespace) -> int:
    settings = configuration.load(arguments.config)
    key = _named(settings, arguments.key)
    fresh = Key(certificate=str(arguments.certificate), key=str(arguments.private_key), password=key.password)
    found = life.rotate(key, fresh, _now(), _own_trust(settings), arguments.rehearse)
    if found:
        return _say(found, "en")
    print(
        "nothing speaks against it"
        if arguments.rehearse
        else f"{arguments.key} is rotated; the old pair is kept beside it"
    )
    return 0


def _folder(settings: Settings) -> Path:
    if "revocation" not in settings.trust:
        raise Misconfigured("GW-SIGN-001", what="trust.revocation", detail="it is not in the settings")
    return Path(settings.trust["revocation"])


def _revoke(arguments: Namespace) -> int:
    folder = _folder(configuration.load(arguments.config))
    certificate = read_certificates(arguments.file)[0]
    life.withdraw(folder, certificate)
    print(f"no longer trusted: {subject_of(certificate)}")
    return 0


def _grace(arguments: Namespace) -> int:
    folder, now = _folder(configuration.load(arguments.config)), _now()
    made = life.forgive(folder, now + timedelta(hours=arguments.hours), arguments.by, arguments.reason, now)
    print(f"unknown revocation status is accepted until {made.until.astimezone(UTC).isoformat(timespec='seconds')}")
    return 0


def _doctor(arguments: Namespace) -> int:
    now, worst, asked = _now(), 0, False
    settings = configuration.load(arguments.config) if arguments.config.exists() else None
    trust = _own_trust(settings) if settings is not None else None
    if arguments.token is not None:
        worst, asked = max(worst, _say(doctor.look(_shown(arguments, now, trust)), arguments.language)), True
    if arguments.message is not None:
        anchors = trust or Trust("document", ())
        found = doctor_forms.message(arguments.message.read_bytes(), anchors, now)
        worst, asked = max(worst, _say(found, arguments.language)), True
    for certificates in _chains(arguments, settings):
        found = tuple(doctor_forms.chain(certificates, trust, now)) or (finding("GW-SIGN-131"),)
        worst, asked = max(worst, _say(found, arguments.language)), True
    if not asked:
        print("name something to look at: --token, --message, --certificate or --destination")
        return 2
    return worst


def _chains(arguments: Namespace, settings: Settings | None) -> Iterable[list[Any]]:
    if arguments.certificate is not None:
        yield read_certificates(arguments.certificate)
    if arguments.destination and settings is not None:
        key = _named(settings, settings.one_destination(arguments.destination).signing_key)
        handle = open_key(key)
        yield [handle.certificate, *handle.chain]


def _shown(arguments: Namespace, now: datetime, trust: Trust | None) -> doctor.Seen:
    return doctor.Seen(
        token=arguments.token.read_text(encoding="utf-8").strip(),
        at=now,
        profile=arguments.profile,
        audience=arguments.audience,
        file=arguments.file.read_bytes() if arguments.file else None,
        body=arguments.body.read_bytes() if arguments.body else None,
        tls=read_certificates(arguments.tls)[0] if arguments.tls else None,
        trust=trust,
    )
