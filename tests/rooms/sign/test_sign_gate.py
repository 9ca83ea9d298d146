from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway.message import Conformity
from gateway.settings import Destination, Settings
from gateway.sign.dev_ca import Authority, name
from gateway.sign.gate import ExchangeGate
from gateway.sign.keys import KeyHandle
from gateway.sign.revocation import Grace, Held
from gateway.sign.trust import Trust


class Records:
    """The one method of the store that the gate asks."""

    def __init__(self, record: Conformity | None) -> None:
        self.record = record

    async def conformity(self, destination: str) -> Conformity | None:
        return self.record


def _record(now: datetime, **changes: Any) -> Conformity:
    good = Conformity(
        destination="central",
        number="1405-17",
        system_id="SYSTEM-1",
        software_version="1.0",
        valid_from=now - timedelta(days=1),
        valid_to=now + timedelta(days=1),
    )
    return msgspec.structs.replace(good, **changes)


def _gate(record: Conformity | None, handle: KeyHandle | None, trust: Trust, **options: str) -> ExchangeGate:
    central = Destination(
        id="central",
        protocol="p",
        peer="p",
        programme="x",
        system_id="SYSTEM-1",
        needs_conformity=True,
        signing_key="k",
        options={"facility": "FACILITY-1", "bind_system": "yes", **options},
    )
    easy = Destination(id="easy", protocol="p", peer="p", programme="x")
    settings = Settings(destination=(central, easy))
    return ExchangeGate(settings, Records(record), lambda _: handle, {"": trust}, "1.0")  # type: ignore[arg-type]


async def test_a_good_record_and_credential_open_the_gate(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """The way it should be; and a destination that demands nothing is open without any of it."""
    assert await _gate(_record(now), rsa_handle, document_trust).closed("central", now) is None
    assert await _gate(None, None, document_trust).closed("easy", now) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": " "}, "GW-SIGN-036"),
        ({"valid_from": 1}, "GW-SIGN-031"),
        ({"valid_to": -1}, "GW-SIGN-032"),
        ({"system_id": "OTHER"}, "GW-SIGN-033"),
        ({"software_version": "0.9"}, "GW-SIGN-034"),
    ],
)
async def test_each_fault_of_the_record_has_its_code(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, changes: dict[str, Any], code: str
) -> None:
    """Rule A-12: what is held says why."""
    changes = {k: now + timedelta(hours=v) if isinstance(v, int) else v for k, v in changes.items()}
    gate = _gate(_record(now, **changes), rsa_handle, document_trust)
    assert await gate.closed("central", now) == code


async def test_a_missing_record_or_credential_closes(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """Neither stands in for the other."""
    assert await _gate(None, rsa_handle, document_trust).closed("central", now) == "GW-SIGN-030"
    assert await _gate(_record(now), None, document_trust).closed("central", now) == "GW-SIGN-035"


async def test_the_credential_is_bound_to_facility_and_system(
    authority: Authority, document_trust: Trust, now: datetime
) -> None:
    """A valid certificate of the hospital next door does not sign for this one."""
    for unit, title, code in (("FACILITY-2", "SYSTEM-1", "GW-SIGN-024"), ("FACILITY-1", "SYSTEM-2", "GW-SIGN-025")):
        foreign = authority.issue(name("Test Signer", unit=unit, title=title), "p256", now)
        assert await _gate(_record(now), foreign, document_trust).closed("central", now) == code


async def test_unknown_revocation_closes_unless_a_grace_period_is_recorded(
    authority: Authority, rsa_handle: KeyHandle, now: datetime
) -> None:
    """Promise 6, with its only exception, which ends."""
    anchors = [authority.certificate]
    bare = Trust("document", anchors)
    assert await _gate(_record(now), rsa_handle, bare).closed("central", now) == "GW-SIGN-015"
    forgiving = Trust(
        "document", anchors, grace=Grace(until=now + timedelta(hours=1), recorded_by="operator", reason="test")
    )
    assert await _gate(_record(now), rsa_handle, forgiving).closed("central", now) is None
    later = now + timedelta(hours=2)
    assert await _gate(_record(now), rsa_handle, forgiving).closed("central", later) == "GW-SIGN-015"


async def test_grace_never_covers_a_revoked_certificate(now: datetime) -> None:
    """Revoked is known, not unknown."""
    authority = Authority.create("Test root", now)
    handle = authority.issue(name("Test Signer", unit="FACILITY-1", title="SYSTEM-1"), "p256", now)
    authority.revoke(handle.certificate, now - timedelta(minutes=5))
    grace = Grace(until=now + timedelta(days=1), recorded_by="operator")
    trust = Trust("document", [authority.certificate], Held([authority.crl(now)]), grace=grace)
    assert await _gate(_record(now), handle, trust).closed("central", now) == "GW-SIGN-012"


async def test_the_gate_closes_when_the_credential_expires(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """Asked at each exchange, not once at start."""
    late = now + timedelta(days=31)
    record = _record(now, valid_to=now + timedelta(days=400))
    assert await _gate(record, rsa_handle, document_trust).closed("central", late) == "GW-SIGN-010"
