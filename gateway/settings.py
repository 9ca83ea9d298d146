"""Settings: read once from one TOML file, typed, then frozen.

An unknown key is an error that names it (a misspelt limit must not be silently ignored). Relative paths are
relative to the file. Secrets never stand in the file: they are given as paths to files, or as names of
environment variables (`env:NAME`). `docs/settings.md` lists every entry with its default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.errors import Misconfigured
from gateway.message import Language


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables of the file."""


class Tls(Part, frozen=True, kw_only=True):
    """Server side TLS. `client_ca` makes client certificates mandatory unless `client_optional`."""

    certificate: str
    key: str
    client_ca: str | None = None
    client_optional: bool = False
    crl: str | None = None
    minimum: Literal["1.2", "1.3"] = "1.2"


class Http(Part, frozen=True, kw_only=True):
    """The HTTP listener. Plain HTTP is refused unless the host is loopback."""

    host: str = "127.0.0.1"
    port: int = 8443
    tls: Tls | None = None
    max_body: int = 16 * 1024 * 1024
    body_seconds: float = 30.0
    max_connections: int = 500


class Mllp(Part, frozen=True, kw_only=True):
    """One MLLP listener. Without `tls` it may only listen on loopback, or serve senders with `plaintext`."""

    host: str = "127.0.0.1"
    port: int = 2575
    tls: Tls | None = None
    programme: str = ""  # where the sender belongs to one programme only, this may stay empty
    max_message: int = 8 * 1024 * 1024
    frame_seconds: float = 5.0
    idle_seconds: float = 300.0
    max_connections: int = 200
    accept_missing_cr: bool = False


class MllpSource(Part, frozen=True, kw_only=True):
    """How a sender is recognised on MLLP beside or instead of its certificate."""

    addresses: tuple[str, ...] = ()  # CIDR
    application: str | None = None  # MSH-3
    facility: str | None = None  # MSH-4
    plaintext: bool = False  # off loopback: explicit, logged, shown


class Callback(Part, frozen=True, kw_only=True):
    """Where later answers go: a webhook (signed with the gateway's evidence key) or an MLLP address."""

    url: str | None = None
    mllp_host: str | None = None
    mllp_port: int = 0
    peer: str = ""  # TLS peer entry under [peer.NAME]
    events: tuple[str, ...] = ("refused", "delivered", "rejected")


class Sender(Part, frozen=True, kw_only=True):
    """Who may push, what, and how it is answered."""

    id: str
    programmes: tuple[str, ...]
    title: str = ""
    role: Literal["sender", "repository", "operator", "auditor", "tester"] = "sender"
    language: Language = "en"
    certificates: tuple[str, ...] = ()  # SHA-256 fingerprints of accepted client certificates
    subjects: tuple[str, ...] = ()  # RFC 4514 subject names, for certificates that rotate under our client CA
    token_sha256: tuple[str, ...] = ()  # digests of bearer tokens
    mllp: tuple[MllpSource, ...] = ()
    callback: Callback | None = None
    duplicate: Literal["accept_with_warning", "refuse"] = "accept_with_warning"  # same id, other bytes
    rows: Literal["row_by_row", "all_or_nothing"] = "row_by_row"
    options: Mapping[str, str] = msgspec.field(default_factory=dict)  # `charset`, `conformance`; others: `$given.NAME`

    def __post_init__(self) -> None:
        if self.options.get("conformance", "warn") not in ("warn", "refuse", "off"):
            raise ValueError("options.conformance is one of: warn, refuse, off")


class Peer(Part, frozen=True, kw_only=True):
    """TLS towards one peer: trust anchors, our certificate, pins. `origin` must match exactly."""

    origin: str  # "https://host:port", "mllp://host:port" or "sftp://host:port"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None  # for SFTP: the account's private key (OpenSSH or PEM)
    key_password: str = ""  # SFTP only; "env:NAME" or a path
    user: str = ""  # SFTP only: the account
    host_keys: tuple[str, ...] = ()  # SFTP only: the server's public keys, "ssh-ed25519 AAAA…"
    pins: tuple[str, ...] = ()
    plaintext: bool = False  # only ever allowed towards loopback
    connect_seconds: float = 5.0
    write_seconds: float = 30.0
    first_byte_seconds: float = 30.0
    total_seconds: float = 60.0
    max_response: int = 4 * 1024 * 1024


class Retry(Part, frozen=True, kw_only=True):
    """Exponential backoff with full jitter, seconds."""

    first: float = 2.0
    factor: float = 2.0
    ceiling: float = 900.0
    budget: int = 200  # tries before an exchange is parked
    breaker_after: int = 5  # failures in a row that open the circuit
    breaker_seconds: float = 30.0


class Destination(Part, frozen=True, kw_only=True):
    """A central repository. `protocol` names a file of deliver/; `options` are that protocol's own."""

    id: str
    protocol: str
    peer: str
    programme: str
    url: str = ""
    system_id: str = ""
    needs_conformity: bool = False
    signing_key: str = ""  # name under [key.NAME]
    signer: str = "none"  # pluggable signer by name: "raw-rsa-sha256", "none" …
    on_unknown: Literal["reconcile", "resend", "hold"] = "reconcile"
    after_reconcile: Literal["resend", "hold"] = "hold"  # where it cannot be asked, or does not know
    body: str = ""  # national message: file under mappings/<programme>/out/
    concurrency: int = 4
    retry: Retry = Retry()
    quiet_hours: str = ""  # "22:00-05:00 Asia/Tehran"
    options: Mapping[str, str] = msgspec.field(default_factory=dict)


class Key(Part, frozen=True, kw_only=True):
    """A key and its certificate chain. Only one file of sign/ opens it."""

    certificate: str
    key: str = ""  # PEM or PKCS#12 path, or "pkcs11:…"
    password: str = ""  # "env:NAME" or a path
    chain: str = ""
    purpose: Literal["evidence", "destination", "tls", "token"] = "destination"
    signer_id: str = ""  # SM2 only; empty: the default of GM/T 0009


class RevocationSource(Part, frozen=True, kw_only=True):
    """Where revocation information is fetched, into the folder `trust.revocation`; no other address is ever asked."""

    name: str  # of the file in that folder
    kind: Literal["crl", "ocsp"] = "crl"
    peer: str  # TLS peer entry under [peer.NAME]
    url: str
    anchors: str = ""  # PEM of the issuers that may have signed it; empty: every anchor of [trust]
    seconds: float = 3600.0  # between two fetches; a CRL past half of its life is asked for each minute

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError("name is made of letters, digits, - and _")


class Organisation(Part, frozen=True, kw_only=True):
    """One sender whose resources a repository may see, within days of its own."""

    sender: str
    valid_from: str = ""  # ISO days, inclusive
    valid_to: str = ""


class Endpoint(Part, frozen=True, kw_only=True):
    """Where a repository may have itself notified: this URL and what lies below it, and no other."""

    url: str  # "https://host:port/path"; its origin is that of the peer
    peer: str  # TLS peer entry under [peer.NAME]
    private: bool = False  # the address is one of our own network, or this machine


class Repository(Part, frozen=True, kw_only=True):
    """What a repository that pulls may see. Its programmes and credentials are those of the sender of that id."""

    sender: str  # id of a [[sender]] with the role repository
    scopes: tuple[str, ...] = ("system/*.rs",)  # SMART scopes that it may have
    senders: tuple[str, ...] = ()  # only what these sent; empty: what any sender of its programmes sent
    organisation: tuple[Organisation, ...] = ()  # and what these sent, each within its own days
    valid_from: str = ""  # ISO days, inclusive
    valid_to: str = ""
    jwks: str = ""  # file with its public keys (RFC 7517), for SMART backend services
    endpoint: tuple[Endpoint, ...] = ()  # where its subscriptions may notify


class Share(Part, frozen=True, kw_only=True):
    """A rule by which repositories see resources of senders that are not theirs: agendas across a territory.

    Whose: `senders`, and those whose entry of the reference data (kind `registry`, key the sender's id) has the same
    value in `by` today as the repository's own entry.
    """

    programme: str
    to: tuple[str, ...]  # repositories, by their sender id
    types: tuple[str, ...] = ()  # every resource of these types
    when: tuple[str, ...] = ()  # those that a search finds: "Slot?service-type=…"; without chains
    senders: tuple[str, ...] = ()
    registry: str = ""  # kind of reference data
    by: str = ""
    valid_from: str = ""  # ISO days, inclusive
    valid_to: str = ""


class Pull(Part, frozen=True, kw_only=True):
    """The FHIR API for repositories that pull, on the HTTP listener. Without this table it is not there."""

    path: str = "/fhir"
    base: str = ""  # our URL as repositories know it; empty: as they called us
    token_seconds: int = 300
    per_minute: int = 1200  # requests of one repository
    search_seconds: float = 5.0
    page_bytes: int = 8 * 1024 * 1024
    exports: int = 4  # bulk exports of one repository at a time
    export_hours: int = 24  # how long a finished export can be fetched
    export_file_bytes: int = 256 * 1024 * 1024  # of one file of an export, about
    subscriptions: int = 50  # of one repository
    notify_tries: int = 40  # failures in a row after which a subscription is parked
    event_days: int = 30  # how long notified events can be asked for again
    repository: tuple[Repository, ...] = ()
    share: tuple[Share, ...] = ()


class Cluster(Part, frozen=True, kw_only=True):
    """NATS JetStream, to wake processes that share a PostgreSQL ledger. It carries exchange numbers, nothing else."""

    nats: str  # "nats://host:port", or "tls://host:port" with `peer`
    peer: str = ""  # entry under [peer.NAME] with anchors and our certificate
    stream: str = "gateway"  # one for each ledger
    sweep_seconds: float = 0.5  # how often what is runnable is looked for beside the wakes


class Metrics(Part, frozen=True, kw_only=True):
    """The Prometheus page, on a port of its own that only this machine can reach. Without this table there is none."""

    port: int = 9464


class Retention(Part, frozen=True, kw_only=True):
    """How long a programme's finished submissions are kept, in days; 0: for ever. What is not final stays."""

    programme: str
    payload_days: int = 0  # received bytes, and the bytes of the attempts that sent what came of them
    refused_days: int = 0  # the same for what was refused at once; 0: as payload_days
    metadata_days: int = 0  # journal and attempts, after the bytes; documents, evidence and audit stay


class RouteWindow(Part, frozen=True, kw_only=True):
    """From when to when a route of a programme is open here, instead of the programme's own days (inclusive)."""

    programme: str
    destination: str
    kind: str = ""  # empty: every kind of case
    valid_from: str | None = None
    valid_to: str | None = None


class MeasureSetting(Part, frozen=True, kw_only=True):
    """Values of parameters of a measure in this installation, instead of those of its file."""

    programme: str
    name: str  # of the measure; "*": every measure of the programme that has such a parameter
    parameters: Mapping[str, int | float | str]


class Collect(Part, frozen=True, kw_only=True):
    """What is fetched instead of pushed, under a sender: files of a folder, or what a URL holds ready."""

    name: str
    sender: str  # id of a [[sender]]
    programme: str = ""  # empty: the sender's first
    folder: str = ""
    url: str = ""
    peer: str = ""  # TLS peer entry under [peer.NAME], for a URL
    method: Literal["GET", "POST"] = "GET"
    media_type: str = "application/xml"
    seconds: float = 300.0
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    options: Mapping[str, str] = msgspec.field(default_factory=dict)  # of the token: `token_url` and its fellows


class Settings(Part, frozen=True, kw_only=True):
    """The whole file."""

    home: str = "."  # where mappings/ and profiles/ are
    data: str = "var"  # database, large payloads, sockets
    database: str = ""  # empty: SQLite in `data`; or postgresql://…
    environment: str = "test"
    programmes: tuple[str, ...] = ()
    answer_within: float = 2.0
    workers: int = 2
    id_key: str = ""  # path or env:NAME of the HMAC key for ids; made at first start when empty
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    http: Http | None = None
    mllp: tuple[Mllp, ...] = ()
    sender: tuple[Sender, ...] = ()
    peer: Mapping[str, Peer] = msgspec.field(default_factory=dict)
    destination: tuple[Destination, ...] = ()
    key: Mapping[str, Key] = msgspec.field(default_factory=dict)
    trust: Mapping[str, str] = msgspec.field(default_factory=dict)  # purpose -> PEM file of anchors
    revocation: tuple[RevocationSource, ...] = ()
    pull: Pull | None = None
    metrics: Metrics | None = None
    cluster: Cluster | None = None
    retention: tuple[Retention, ...] = ()
    collect: tuple[Collect, ...] = ()
    measure: tuple[MeasureSetting, ...] = ()
    route: tuple[RouteWindow, ...] = ()

    def one_destination(self, id: str) -> Destination:
        """The destination of that id, or Misconfigured."""
        for each in self.destination:
            if each.id == id:
                return each
        raise Misconfigured(detail=f"destination {id!r} is not in the settings")


def secret(reference: str) -> bytes:
    """The bytes behind `env:NAME` or a path; white space at the end is not part of a secret."""
    if reference.startswith("env:"):
        value = os.environ.get(reference[4:])
        if value is None:
            raise Misconfigured(detail=f"the environment has no {reference[4:]}")
        return value.encode()
    try:
        return Path(reference).read_bytes().rstrip()
    except OSError as error:
        raise Misconfigured(detail=f"{reference}: {error.strerror}") from None


_PATHS = frozenset(
    {"home", "data", "certificate", "key", "chain", "ca", "client_ca", "crl", "id_key", "trust", "jwks", "anchors"}
    | {"encryption_key", "client_secret", "user_password", "token_file", "errors", "folder"}  # options of destinations
)


def _anchor(value: Any, base: Path, name: str = "") -> Any:
    if isinstance(value, dict):
        inside = name if name == "trust" else ""
        return {k: _anchor(v, base, inside or k) for k, v in value.items()}
    if isinstance(value, list):
        return [_anchor(v, base, name) for v in value]
    if isinstance(value, str) and value and name in _PATHS and ":" not in value.split("/")[0]:
        return str((base / value).resolve())
    return value


def parse(text: str, base: Path) -> Settings:
    """Settings from TOML text; every problem is `Misconfigured` with the place in it."""
    try:
        raw = tomllib.loads(text)
        raw.setdefault("home", ".")
        raw.setdefault("data", "var")
        return msgspec.convert(_anchor(raw, base), Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(detail=str(error)) from None


def load(path: Path) -> Settings:
    """Settings from a file."""
    try:
        return parse(path.read_text(encoding="utf-8"), path.resolve().parent)
    except OSError as error:
        raise Misconfigured(detail=f"{path}: {error.strerror}") from None
