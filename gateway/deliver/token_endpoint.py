"""One request to a token endpoint and its answer (RFC 6749 sections 3.2 and 5.1), whatever the grant.

Which grant, how long a token is kept, who shares it and what a refusal means is decided by those who ask:
`bearer.py` for an account with a name and a password, `oauth.py` for a client that speaks for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from gateway.errors import GatewayError
from gateway.formats import json
from gateway.ports import MaybeSent, Network, NotSent, Reply

MAX_ANSWER: Final = 256 * 1024
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_HEADERS: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


async def ask(
    network: Network, peer: str, url: str, form: Mapping[str, str], timeout: float, headers: Mapping[str, str] = _NONE
) -> Reply:
    """The endpoint's answer. Where none comes it is `NotSent`: whatever became of this, no message has left."""
    try:
        return await network.request(
            peer, "POST", url, {**headers, **_HEADERS}, urlencode(form).encode("ascii"), timeout
        )
    except MaybeSent as fault:
        raise NotSent(*fault.args) from None


def fields(reply: Reply) -> Mapping[str, Any]:
    """The JSON object of a successful answer; none of its fields where it is something else."""
    try:
        found = json.read(reply.body, MAX_ANSWER) if reply.status == 200 else None
    except GatewayError:
        found = None
    return found if isinstance(found, dict) else {}
