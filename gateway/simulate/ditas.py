"""The DITAS stand-in: a token service, the sealed operations of SEPAS, the plain laboratory batch.

The rules of the record behind it are those of `sepas.py`. It makes a key of its own at each start and writes the
public half where it is told to (`--public-key`), as PEM; the private half is never written. Strict about the token
(its account, its end), the package id, the members of the JSON body, the seal, and the message inside.
"""

from __future__ import annotations

import argparse
import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives import padding as block
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.formats import json
from gateway.simulate import ditas_lab
from gateway.simulate import sepas_checks as checks
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order
from gateway.simulate.sepas import CATEGORIES, Sepas
from gateway.simulate.sepas_checks import Problem
from gateway.simulate.server import Judged

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path
OPERATIONS: Final[dict[str, str]] = {
    "SavePatientBill": "PatientBillMessageVO",
    "SaveAdmittedMessage": "AdmittedMessageVO",
    "SaveReferralCase": "ReferralCaseMessageVO",
    "SavePathologyReport": "PathologyReportMessageVO",
    "SaveDeathCertificate": "DeathCertificateMessageVO",
}
"""Operation -> the message that it takes."""

_SECURE: Final = re.compile(r"/api/client/apim/v1/sepas/gwSepasHospital/(\w+)Secure")
_LAB: Final = re.compile(r"/api/client/apim/v1/sepas/gwlaboratoryresult/LISSaveLaboratoryResult(Test)?")
_BODY: Final = ("IPClient", "IPServer", "SystemID", "LocationID", "ContentType", "Data", "Key", "IV")
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the peer's format
TESTER: Final = {"client": "tester", "secret": "tester-secret", "user": "tester", "password": "tester-password"}
"""The account of a stand-in that was given none: it protects nothing."""


def answer(status: int, body: Any) -> Answer:
    """A JSON answer."""
    return Answer(status, "application/json; charset=utf-8", json.write(body))


def error(status: int, code: str, text: str, violations: Iterable[str] = ()) -> Answer:
    """An error of the gateway itself."""
    body: dict[str, Any] = {"Code": status, "Error": code, "Error_Description": text}
    return answer(status, {**body, "violations": [{"message": each} for each in violations]})


@cache
def _own_key() -> rsa.RSAPrivateKey:
    """One for the life of the process."""
    return rsa.generate_private_key(65537, 2048)


class Ditas(Sepas):
    """`account` is what a login needs; `seconds` is how long a token lasts; `pids` are the packages (none: any)."""

    name = "ditas"

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        account: Mapping[str, str] = TESTER,
        seconds: int = 763,
        pids: Iterable[str] = (),
        reimbursements: Path | None = None,
        **more: Any,
    ) -> None:
        super().__init__(log, faults, clock, **more)
        self._account, self._seconds, self._pids = dict(account), seconds, frozenset(pids)
        self._key = _own_key()
        self._ready = reimbursements  # a folder; each file is given once, in the order of names
        self.fetched: list[str] = []
        self.tokens: dict[str, datetime] = {}
        self.refreshers: dict[str, str] = {}
        self.logins: list[str] = []  # the grants that were asked for, in order
        self.laboratory: dict[str, int] = {}  # identity of a result -> its last arrival

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """The account, the package, the public key."""
        super().options(parser)
        for name, value in TESTER.items():
            parser.add_argument(f"--{name}", default=value, help=f"{name} of the account ({value})")
        parser.add_argument("--token-seconds", type=int, default=763)
        parser.add_argument("--pid", action="append", default=[], help="a package id that is known; none: any")
        parser.add_argument("--reimbursements", type=Path, help="folder of insurers' answers, each handed out once")
        parser.add_argument("--public-key", type=Path, help="write the public key for sealing here, as PEM")

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        made = cls(
            log,
            faults,
            account={name: getattr(options, name) for name in TESTER},
            seconds=options.token_seconds,
            pids=options.pid,
            reimbursements=options.reimbursements,
            ca=options.ca,
            node=options.node,
            facilities=options.facility,
            blocked=options.blocked,
            mandatory=options.mandatory,
        )
        if options.public_key is not None:
            options.public_key.write_bytes(made.public_pem)
        return made

    @property
    def public_pem(self) -> bytes:
        """The key that bodies are sealed for."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def reached(self, url: str, folder: Path) -> Mapping[str, str]:
        """The tester's account, and the public key in a file."""
        for name in ("secret", "password"):
            (folder / name).write_text(self._account[name], encoding="utf-8")
        (folder / "public.pem").write_bytes(self.public_pem)
        return {
            "token_url": f"{url}{TOKEN_PATH}",
            "client_id": self._account["client"],
            "client_secret": str(folder / "secret"),
            "username": self._account["user"],
            "user_password": str(folder / "password"),
            "secure": "sealed",
            "encryption_key": str(folder / "public.pem"),
            "pid": next(iter(self._pids), "0" * 24),
        }

    def expire(self) -> None:
        """Every token ends now."""
        self.tokens.clear()

    def order(self, arrival: Arrival) -> Order | None:
        """Misbehaviour is ordered for operations; the token service keeps working."""
        return None if arrival.path == TOKEN_PATH else super().order(arrival)

    def inquire(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """`GET …/InsurerReimbursement` with a token and a package id: the next answer of an insurer, or 204."""
        if not path.endswith("/InsurerReimbursement"):
            return super().inquire(path, query, headers)
        refusal = self._no_token(headers.get("authorization", "")) or self._no_package(headers.get("pid", ""))
        if refusal is not None:
            return refusal
        waiting = sorted(p for p in self._ready.iterdir() if p.is_file()) if self._ready is not None else []
        following = next((each for each in waiting if each.name not in self.fetched), None)
        if following is None:
            return Answer(204, "application/xml", b"")
        self.fetched.append(following.name)
        return Answer(200, "application/xml; charset=utf-8", following.read_bytes())

    # --- judging ----------------------------------------

    def judge(self, arrival: Arrival) -> Judged:
        """By path: the token service, a sealed operation, a laboratory batch."""
        if arrival.path == TOKEN_PATH:
            return self._login(arrival)
        refusal = self._not_let_in(arrival)
        if refusal is not None:
            return Judged(refusal, {"result": "refused", "problems": [f"HTTP {refusal.status}"]})
        if _LAB.fullmatch(arrival.path):
            return self._batch(arrival)
        operation = _SECURE.fullmatch(arrival.path)
        kind = OPERATIONS.get(operation[1]) if operation else None
        if kind is None:
            return Judged(error(404, "not_found", "no such service"), {"result": "refused", "problems": ["path"]})
        return self._operation(arrival, kind)

    def _not_let_in(self, arrival: Arrival) -> Answer | None:
        refusal = self._no_token(arrival.header("authorization")) or self._no_package(arrival.header("pid"))
        if refusal is None and arrival.header("content-type").partition(";")[0].strip() != "application/json":
            return error(415, "unsupported_media_type", "content type is not JSON")
        return refusal

    def _no_token(self, given: str) -> Answer | None:
        scheme, _, token = given.partition(" ")
        ends = self.tokens.get(token)
        if scheme.lower() != "bearer" or ends is None or ends <= self.clock.now():
            return error(401, "invalid_token", "the token is not known or has ended")
        return None

    def _no_package(self, pid: str) -> Answer | None:
        if not re.fullmatch(r"[0-9a-fA-F]{24}", pid) or (self._pids and pid not in self._pids):
            return error(403, "invalid_package", "pid is not a package of this account")
        return None

    def _login(self, arrival: Arrival) -> Judged:
        form = dict(parse_qsl(arrival.body.decode("latin-1")))
        grant = form.get("grant_type", "")
        self.logins.append(grant)
        client = f"{self._account['client']}:{self._account['secret']}"
        right = arrival.header("authorization") == f"Basic {base64.b64encode(client.encode()).decode()}"
        if grant == "password":
            right = right and (form.get("username"), form.get("password")) == (
                self._account["user"],
                self._account["password"],
            )
        elif grant == "refresh_token":
            right = right and self.refreshers.pop(form.get("refresh_token", ""), None) is not None
        else:
            right = False
        if not right:
            return Judged(error(400, "invalid_grant", "the account is not known"), {"result": "refused"})
        token, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.tokens[token] = self.clock.now() + timedelta(seconds=self._seconds)
        self.refreshers[refresh] = token
        body = {"access_token": token, "token_type": "bearer", "refresh_token": refresh, "expires_in": self._seconds}
        return Judged(answer(200, {**body, "scope": "sepas"}), {"result": "token", "grant": grant})

    def _operation(self, arrival: Arrival, kind: str) -> Judged:
        body = self._opened(arrival.body)
        if isinstance(body, Problem):
            refusal = error(400, "bad_request", str(body), [body.text])
            return Judged(refusal, {"result": "refused", "problems": [str(body)]})
        members, plain = body
        message = checks.read_alone(plain, kind)
        if members["ContentType"] != kind:
            message = Problem("Structure", "ContentType is not the operation's message")
        if isinstance(message, Problem):
            return self._refused([message])
        if members["SystemID"] != message.text("vm:MsgID/vm:SystemID/vm:ID"):
            return self._refused([Problem("SepasBlock", "SystemID of the envelope is not the message's")])
        return self._judge(message, arrival)

    def _opened(self, body: bytes) -> tuple[dict[str, str], bytes] | Problem:
        """The members of the envelope, and the message that was sealed in it."""
        try:
            found = json.read(body)
            if not isinstance(found, dict) or tuple(found) != _BODY:
                return Problem("Structure", "the members are not those of a Secure body, in their order")
            if not all(isinstance(each, str) for each in found.values()):
                return Problem("Data Format", "a member is not text")
            key, vector = (self._key.decrypt(base64.b64decode(found[n], validate=True), _OAEP) for n in ("Key", "IV"))
            if len(key) != 32 or len(vector) != 16:
                return Problem("Data Format", "Key has 32 characters, IV has 16")
            opener = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
            padded = opener.update(base64.b64decode(found["Data"], validate=True)) + opener.finalize()
            remover = block.PKCS7(128).unpadder()
            return found, remover.update(padded) + remover.finalize()
        except GatewayError:
            return Problem("Structure", "the body is not JSON")
        except ValueError:
            return Problem("Data Format", "Data, Key or IV cannot be opened")

    def _batch(self, arrival: Arrival) -> Judged:
        found = ditas_lab.problems(arrival.body)
        if found:
            refusal = {"data": None, "isSuccess": False, "waitTime": 0, "statusCode": 400, "message": found}
            return Judged(answer(200, refusal), {"result": "refused", "problems": found})
        results = [self._uids() for _ in ditas_lab.items(arrival.body)]
        body = {"data": results, "isSuccess": True, "waitTime": 0, "statusCode": 200, "message": []}
        kept: list[tuple[dict[Any, Any], Any, Any]] = [
            (self.laboratory, result["CompositionUID"], arrival.number) for result in results
        ]
        return Judged(answer(200, body), {"result": "created", "results": len(results)}, kept)

    def _uids(self) -> dict[str, str]:
        return {"MessageUID": secrets.token_hex(8), "CompositionUID": self._uid(), "patientUID": self._uid()}

    def _result(self, error: str = "", composition: str = "", patient: str = "") -> Answer:
        fields = {"MessageUID": secrets.token_hex(8), "ErrorMessage": error, "CompositionUID": composition}
        return answer(200, {name: value for name, value in {**fields, "patientUID": patient}.items() if value})

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """The published categories inside the batch's own answer; a status that nobody knows; else as SEPAS lies."""
        if order.name == "unknown-code":
            return answer(200, {"answer": "perhaps"})
        if _LAB.fullmatch(arrival.path) and order.name != "wrong-id":
            name = order.value or "Unknown"
            text = f"{name}: {CATEGORIES.get(name, '')}"
            return answer(200, {"data": None, "isSuccess": False, "waitTime": 0, "statusCode": 400, "message": [text]})
        return super().lie(order, arrival, true)
