"""The exchange certificate gate: nothing leaves for a destination that demands them without a valid conformity
record (گواهی تبادل اطلاعات, rule A-12) and a valid credential.

Both readings of that گواهی are honoured: the administrative record (number, validity, SystemID, software version)
and the X.509 credential (chain, revocation, subject bound to facility and system).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from gateway.message import Conformity
from gateway.ports import Store
from gateway.settings import Destination, Settings
from gateway.sign.keys import KeyHandle
from gateway.sign.trust import Names, Trust

NO_RECORD: Final = "GW-SIGN-030"
NOT_YET: Final = "GW-SIGN-031"
EXPIRED: Final = "GW-SIGN-032"
OTHER_SYSTEM: Final = "GW-SIGN-033"
OTHER_VERSION: Final = "GW-SIGN-034"
NO_CREDENTIAL: Final = "GW-SIGN-035"
NO_NUMBER: Final = "GW-SIGN-036"

KeyOf = Callable[[str], KeyHandle | None]


class ExchangeGate:
    """`ports.Gate` over the store's conformity records and the keys that are open.

    `key_of` gives the handle under a key name at the moment of the question, so a rotated key counts at once.
    `trusts` maps a destination id, or "" for all, to the trust for our own credential there. The destination
    option `facility` binds the subject's OU, `system_id` its T when option `bind_system` is "yes".
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        key_of: KeyOf,
        trusts: Mapping[str, Trust],
        software_version: str = "",
    ) -> None:
        self._settings = settings
        self._store = store
        self._key_of = key_of
        self._trusts = dict(trusts)
        self._version = software_version

    async def closed(self, destination: str, now: datetime) -> str | None:
        """None when open, else the permanent code of the first reason."""
        known = self._settings.one_destination(destination)
        if not known.needs_conformity:
            return None
        record = await self._store.conformity(destination)
        version = known.options.get("software_version", self._version)
        return judge(record, known.system_id, version, now) or self._credential(known, now)

    def _credential(self, destination: Destination, now: datetime) -> str | None:
        handle = self._key_of(destination.signing_key) if destination.signing_key else None
        trust = self._trusts.get(destination.id) or self._trusts.get("")
        if handle is None or trust is None:
            return NO_CREDENTIAL
        bound = destination.options.get("bind_system", "no") == "yes"
        names = Names(facility=destination.options.get("facility", ""), system=destination.system_id if bound else "")
        return trust.problem(handle.certificate, handle.chain, now, names)


def judge(record: Conformity | None, system_id: str, software_version: str, now: datetime) -> str | None:
    """None when the record is good now for this system and version (an empty version is not compared)."""
    if record is None:
        return NO_RECORD
    if not record.number.strip():
        return NO_NUMBER
    if now < record.valid_from:
        return NOT_YET
    if now > record.valid_to:
        return EXPIRED
    if record.system_id != system_id:
        return OTHER_SYSTEM
    if software_version and record.software_version != software_version:
        return OTHER_VERSION
    return None
