"""`POST /doctor`: the trust doctor over HTTP, for testers and operators. Nothing of what is shown is kept.

The body is JSON (see `gateway.sign.consult.Asked`), the answer `{"findings": [{code, severity, text, mend, …}]}` in
the reader's language; 200 also where faults were found, because finding them is what was asked for.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.clock import Clock
from gateway.errors import GatewayError, NotAllowed, Refused, codes
from gateway.formats import json
from gateway.message import Finding
from gateway.receive import answers
from gateway.receive.http import Front, read_body
from gateway.settings import Http, Settings
from gateway.sign.consult import Asked, consult
from gateway.sign.life import trust_for
from gateway.sign.trust import Trust

MAX_BODY: Final = 4 * 1024 * 1024
MAY_ASK: Final = frozenset({"tester", "operator"})


def trust_of(settings: Settings) -> Trust | None:
    """The anchors that what is shown is judged by: those of document signers, else our own credentials'."""
    named = next((name for name in ("document", "signer") if name in settings.trust), None)
    return trust_for(settings, named) if named else None


def read(body: bytes) -> Asked:
    """What is shown, or `Refused`."""
    try:
        return msgspec.convert(json.read(body), Asked)
    except (msgspec.ValidationError, GatewayError) as error:
        detail = str(error) if isinstance(error, msgspec.ValidationError) else error.code
        raise Refused("GW-SIGN-040", None, detail=detail[:160]) from None


def router(front: Front, settings: Settings, clock: Clock) -> APIRouter:
    """The route."""
    made, trust, limits = APIRouter(), trust_of(settings), Http(max_body=MAX_BODY)

    async def ask(request: Request) -> Response:
        caller = await front.caller(request)
        if caller.role not in MAY_ASK:
            raise NotAllowed
        body = await read_body(request, limits, front.budget)
        if body.trouble:
            return answer(request, body.trouble, codes()[body.trouble[0].code].http)
        found = await asyncio.to_thread(consult, read(body.data), trust, clock.now())
        return answer(request, found, 200)

    def answer(request: Request, found: tuple[Finding, ...], status: int) -> Response:
        language = answers.language_of(request.headers.get("accept-language"), "en")
        said = json.write({"findings": [answers.finding_json(each, language) for each in found]})
        headers = {"cache-control": "no-store", "content-language": answers.tag(language)}
        return Response(said, status, headers, answers.PLAIN)

    made.add_api_route("/doctor", ask, methods=["POST"], response_model=None)
    return made
