"""The second generation: a shared token that nobody can read afterwards, sealed bodies, the laboratory batch."""

from __future__ import annotations

import asyncio
import io
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from deliver_world import AT, SYSTEM, TestSigner, bill, destination, document, exchange, peer, routed, running, tools

from gateway.clock import FixedClock, SystemClock
from gateway.deliver import bearer, http_message, wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.message import Attempt, Outcome
from gateway.network import Outbound
from gateway.ports import NotSent
from gateway.settings import Key
from gateway.sign.keyring import KeyRing
from gateway.sign.requests import request_signer_for
from gateway.simulate import arrivals
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.ditas import TESTER, Ditas
from gateway.simulate.faults import Faults
from gateway.simulate.sepas import CATEGORIES
from gateway.simulate.server import Running

PID = "0123456789abcdef01234567"
BILL_OPTIONS = {"operation": "SavePatientBill", "secure": "sealed", "pid": PID, "reconcile_seconds": "0"}


def lab(document_: Mapping[str, Any], target: str, values: Mapping[str, str]) -> bytes:
    """A batch of so many results, as a mapping would make it."""
    identifier = {"id": "12345", "issuer": "Med_Council", "assigner": "Med_Council", "type": "Med_ID"}
    item = {
        "msgID": {"systemID": {"id": SYSTEM}, "healthCareFacilityID": {"id": "F"}, "universityID": {"id": "U"}},
        "person": {"nationalCode": "0012345679"},
        "composition": {
            "admission": {"attendingDoctor": {"identifier": identifier}},
            "generalLaboratoryResult": [{"name": "test", "value": "1"}],
        },
    }
    return json.write({"data": [item] * int(document_.get("results", 1))})


@asynccontextmanager
async def site(tmp_path: Path, stand_in: Ditas, signer: TestSigner | None = None, **options: str) -> AsyncIterator[Any]:
    """A wire to a running stand-in, its secrets in files."""
    (tmp_path / "client-secret").write_text(TESTER["secret"] + "\n")
    (tmp_path / "password").write_text(options.pop("password", TESTER["password"]) + "\n")
    (tmp_path / "seal.pem").write_bytes(stand_in.public_pem)
    async with Running(stand_in) as server:
        network = Outbound({"peer": peer(server.url)})
        account = {
            "token_url": f"{server.url}/oauth/token",
            "client_id": TESTER["client"],
            "client_secret": str(tmp_path / "client-secret"),
            "username": TESTER["user"],
            "user_password": str(tmp_path / "password"),
            "encryption_key": str(tmp_path / "seal.pem"),
        }

        def wire(**more: str) -> Any:
            given = {**BILL_OPTIONS, **account, **options, **more}
            place = destination(
                "sepas",
                protocol="sepas-ditas",
                url=server.url,
                system_id=SYSTEM,
                body="bill.yaml",
                signer="raw-rsa-sha256" if signer else "none",
                options={name: value for name, value in given.items() if value},
            )
            national = lab if given.get("form") == "plain" else bill
            sealing = request_signer_for(place, KeyRing(dict[str, Key]()))
            return wires.make(place, network, signer, national, request_signer=sealing)

        try:
            yield wire
        finally:
            await network.aclose()


def attempt_of(wire: Any, receipts: dict[str, str] | None = None, **body: Any) -> Attempt:
    now = SystemClock().now()
    made = document("doc", json.write({"record": "1001", **body}))
    request, transport = wire.render(made, exchange("e"), receipts or {}, 1, now)
    return Attempt(
        id="a", exchange="e", number=1, started_at=now, request=request, request_digest="", transport_id=transport
    )


async def send(wire: Any, receipts: dict[str, str] | None = None, **body: Any) -> Outcome:
    outcome: Outcome = await wire.send(attempt_of(wire, receipts, **body))
    return outcome


async def test_a_sealed_and_signed_bill_is_opened_verified_and_answered(
    signer: TestSigner, ca: Path, tmp_path: Path
) -> None:
    """Only the holder of the private key reads the message; the signature inside is what gives it integrity."""
    log = tmp_path / "arrivals.jsonl"
    async with site(tmp_path, Ditas(ArrivalLog(log), ca=ca, pids=[PID]), signer) as wire:
        outcome = await send(wire())
    assert outcome.state == "delivered", outcome
    assert outcome.receipts["PatientUID"].startswith("node-1.test::")
    verdict = list(arrivals.read(log))[-1]["verdict"]
    assert (verdict["signature"], verdict["message"]) == ("verified", "PatientBillMessageVO")
    assert "آزمایشی" not in log.read_text()


async def test_an_update_and_a_withdrawal_use_the_uids_that_were_given(tmp_path: Path) -> None:
    """Save, update, deactivate, and a new life under a new CompositionUID."""
    stand_in = Ditas()
    async with site(tmp_path, stand_in) as wire:
        first = await send(wire())
        again = await send(wire(), dict(first.receipts))
        assert again.receipts["CompositionUID"] == first.receipts["CompositionUID"]
        withdrawing = wires_that_withdraw(wire)
        gone = await send(withdrawing, dict(first.receipts))
        late = await send(wire(), dict(first.receipts))
        never = await send(withdrawing)
    assert (gone.state, gone.forget) == ("delivered", ("CompositionUID",))
    assert "CompositionUID" not in gone.receipts
    assert late.state == "rejected"
    assert never.codes == ("GW-DELIVER-024",)
    assert never.state == "delivered"
    assert stand_in.log.count == 5, "one login, four messages: what was never accepted is not withdrawn on the wire"


def wires_that_withdraw(wire: Any) -> Any:
    made = wire()
    made._messages._national = lambda *given: bill(*given).replace(
        b"</v:HealthCareFacilityID>", b"</v:HealthCareFacilityID><v:Deactivate>true</v:Deactivate>"
    )
    return made


# --- tokens ----------------------------------------


async def test_many_deliveries_at_once_need_one_login(tmp_path: Path) -> None:
    """A token service that is asked for each message blocks the account, and an older token may end by a new one."""
    stand_in = Ditas()
    async with site(tmp_path, stand_in) as wire:
        several = [wire(), wire(operation="SavePatientBill"), wire()]
        outcomes = await asyncio.gather(*(send(several[n % 3], record=str(n + 1)) for n in range(12)))
    assert {each.state for each in outcomes} == {"delivered"}
    assert stand_in.logins == ["password"]


async def test_a_token_is_renewed_before_it_ends_and_by_the_refresh_token(tmp_path: Path) -> None:
    """A token that ends between our look and the peer's would fail a message for nothing."""
    clock = FixedClock(AT)
    stand_in = Ditas(clock=clock, seconds=100)
    async with site(tmp_path, stand_in) as wire:
        made = wire()
        made._tokens._clock = clock
        for seconds, logins in ((0, 1), (65, 1), (6, 2), (60, 2), (500, 3)):
            clock.advance(timedelta(seconds=seconds))
            assert (await send(made)).state == "delivered"
            assert len(stand_in.logins) == logins
        stand_in.refreshers.clear()
        clock.advance(timedelta(seconds=500))
        assert (await send(made)).state == "delivered"
    assert stand_in.logins == ["password", "refresh_token", "refresh_token", "refresh_token", "password"]


async def test_a_token_that_the_destination_refuses_is_dropped_and_the_message_goes_later(tmp_path: Path) -> None:
    """Tokens are revoked without notice; 401 means that nothing was taken."""
    stand_in = Ditas()
    async with site(tmp_path, stand_in) as wire:
        made = wire()
        assert (await send(made)).state == "delivered"
        stand_in.expire()
        refused = await send(made)
        assert (refused.state, refused.codes) == ("due", ("GW-DELIVER-008",))
        assert (await send(made)).state == "delivered"


async def test_a_wrong_password_sends_nothing_and_parks_nothing(tmp_path: Path) -> None:
    """A password that has ended is mended by an operator; until then everything waits with its reason."""
    stand_in = Ditas()
    async with site(tmp_path, stand_in, password="mistyped") as wire:
        outcome = await send(wire())
    assert (outcome.state, outcome.codes) == ("due", ("GW-DELIVER-025",))
    assert "mistyped" not in str(outcome)
    assert stand_in.kept == 0


async def test_a_token_service_that_is_away_is_not_an_unknown_outcome(tmp_path: Path) -> None:
    """Whatever happens to the token request, the message itself has not left."""
    async with site(tmp_path, Ditas(), token_url="http://127.0.0.1:1/oauth/token") as wire:
        with pytest.raises(NotSent):
            await send(wire())


async def test_nobody_can_read_the_token_afterwards(tmp_path: Path, ledger: Any) -> None:
    """Neither in the attempt's bytes, nor in the ledger's files, nor in a log line, nor in an error."""
    stand_in, lines = Ditas(faults=Faults(["category=DB"])), io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines))
    try:
        async with site(tmp_path, stand_in) as wire:
            await ledger.commit(routed(exchange("e1", "sepas"), body=b'{"record":"7"}'))
            place = destination("sepas", protocol="sepas-ditas", options={"reconcile_seconds": "0"})
            async with running(Dispatcher([place], {"sepas": wire()}, tools(ledger))):
                for _ in range(400):
                    if (await ledger.exchange("e1")).state == "delivered":
                        break
                    await asyncio.sleep(0.02)
            tries = await ledger.attempts("e1")
    finally:
        structlog.reset_defaults()
    tokens = [*stand_in.tokens, *stand_in.refreshers, TESTER["password"], TESTER["secret"]]
    assert len(tries) == 2
    assert tries[-1].outcome == "delivered"
    kept = b"".join(each.request + (each.reply or b"") for each in tries)
    secrets = {"password", "client-secret"}
    kept += b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file() and each.name not in secrets)
    said = lines.getvalue()
    assert "token" in said, "the renewal itself is logged"
    for token in tokens:
        assert token.encode() not in kept
        assert token not in said


async def test_processes_of_a_machine_share_a_token_by_a_file_that_only_they_can_read(tmp_path: Path) -> None:
    """Each process that logs in by itself may end the token of the others."""
    stand_in, file = Ditas(), tmp_path / "token"
    async with site(tmp_path, stand_in, token_file=str(file)) as wire:
        assert (await send(wire())).state == "delivered"
        bearer._shared.clear()  # as another process would begin
        assert (await send(wire())).state == "delivered"
    assert stand_in.logins == ["password"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


# --- answers ----------------------------------------


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("form", ["secure", "plain"])
async def test_each_published_category_is_read_from_both_kinds_of_answers(
    category: str, form: str, tmp_path: Path
) -> None:
    """The same words come in a ResultVO or in the gateway's own message list."""
    more = {"form": "plain", "operation": "LISSaveLaboratoryResult"} if form == "plain" else {}
    async with site(tmp_path, Ditas(faults=Faults([f"category={category}"])), **more) as wire:
        outcome = await send(wire())
    due = {"National Locator", "Locator", "DB", "Network", "SepasNode"}
    parked = {"Structure", "SepasBlock", "Version", "Facility Validation", "Unknown"}
    assert outcome.state == ("due" if category in due else "parked" if category in parked else "rejected")
    assert outcome.findings[0].code == "GW-DELIVER-017"
    assert CATEGORIES[category] in outcome.findings[0].args["detail"]


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b"<html>", "unknown"),
        (200, b"[]", "unknown"),
        (200, b'{"answer":1}', "unknown"),
        (200, b'{"CompositionUID":"n::1"}', "unknown"),
        (200, b'{"CompositionUID":"n::1","patientUID":"n::2","ErrorMessage":"DB: x"}', "unknown"),
        (200, b'{"compositionuid":"n::1","patientuid":"n::2"}', "delivered"),
        (200, b'{"data":{"CompositionUID":"n::1","patientUID":"n::2"},"isSuccess":true}', "delivered"),
        (200, b'{"isSuccess":false,"message":["Mapping: x"]}', "rejected"),
        (400, b'{"Code":400,"Error":"Date Validation","violations":[{"message":"x"}]}', "rejected"),
        (400, b"no", "parked"),
        (403, b'{"Error":"Logic"}', "parked"),
        (429, b"{}", "due"),
        (500, b'{"Error":"Mapping"}', "unknown"),
        (503, b"", "due"),
    ],
)
async def test_answers_are_judged_by_what_they_are(status: int, body: bytes, state: str, tmp_path: Path) -> None:
    """Delivered is only what names both UIDs without an error; what a proxy says counts as nothing."""

    reply = SimpleNamespace(status=status, body=body, headers={"content-type": "application/json"})
    async with site(tmp_path, Ditas()) as wire:
        made = wire()
        outcome = made.verdict(reply, attempt_of(made))
    assert outcome.state == state, outcome


async def test_a_laboratory_batch_is_plain_json_and_all_of_it_is_taken(tmp_path: Path) -> None:
    """The newer service takes several results in one body; what is on disk is what leaves."""
    stand_in = Ditas()
    async with site(tmp_path, stand_in, form="plain", operation="LISSaveLaboratoryResult", secure="") as wire:
        outcome = await send(wire(), results=3)
    assert outcome.state == "delivered"
    assert len(stand_in.laboratory) == 3
    assert len(json.read(stand_in.log.arrivals[-1].body)["data"]) == 3


async def test_a_batch_that_was_taken_in_part_is_for_an_operator(tmp_path: Path) -> None:
    """No public text says what half a batch means, so nobody guesses."""

    body = json.write({"isSuccess": True, "data": [{"CompositionUID": "n::1"}, {"ErrorMessage": "Mapping: x"}]})
    reply = SimpleNamespace(status=200, body=body, headers={"content-type": "application/json"})
    async with site(tmp_path, Ditas(), form="plain", operation="LISSaveLaboratoryResult", secure="") as wire:
        made = wire()
        outcome = made.verdict(reply, attempt_of(made))
    assert outcome.state == "parked"
    assert outcome.findings[0].args["detail"] == "Mapping: x"


# --- strictness of the stand-in, and of the settings ----------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('"IPClient"', '"IpClient"', "members"),
        (f'"SystemID":"{SYSTEM}"', '"SystemID":"another"', "SystemID"),
        ('"ContentType":"PatientBillMessageVO"', '"ContentType":"AdmittedMessageVO"', "ContentType"),
        ('"Data":"', '"Data":"AAAA', "opened"),
        ('"IV":"', '"IV":"AAAA', "opened"),
    ],
)
async def test_the_stand_in_refuses_an_envelope_that_is_not_exact(
    old: str, new: str, word: str, tmp_path: Path
) -> None:
    """Testers learn it here and not on the day of the go-live."""
    log = tmp_path / "arrivals.jsonl"
    async with site(tmp_path, Ditas(ArrivalLog(log))) as wire:
        made = wire()
        attempt = attempt_of(made)
        out = http_message.take_apart(attempt.request)
        assert old in out.body.decode()
        changed = out.body.decode().replace(old, new, 1).encode()
        request = http_message.compose(out.method, out.url, out.headers, changed)
        outcome = await made.send(
            Attempt(id="a", exchange="e", number=1, started_at=AT, request=request, request_digest="")
        )
    assert outcome.state in ("parked", "rejected")
    assert word in str(list(arrivals.read(log))[-1]["verdict"]["problems"])


@pytest.mark.parametrize(
    "missing", [{"pid": "12"}, {"operation": ""}, {"token_url": ""}, {"client_secret": ""}, {"secure": ""}]
)
async def test_settings_that_cannot_work_stop_the_start(missing: dict[str, str], tmp_path: Path) -> None:
    """Better at the start than at the first message."""
    async with site(tmp_path, Ditas()) as wire:
        with pytest.raises(Misconfigured):
            wire(**missing)
