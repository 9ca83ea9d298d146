"""Where destinations tell us what became of something that they took: `POST /told/{destination}`.

A protocol may put a path of its own behind it (`/told/{destination}/v1/workflow/status`). The caller is known by
certificate or token like any other, before the body is read; room deliver says whether it may tell, and commits
what it told before the answer is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import APIRouter, Request, Response

from gateway.errors import Refused
from gateway.ports import Told
from gateway.receive.http import Front, read_body

Take = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Told]]
"""(destination, caller, headers, body) -> the answer, once what was told is durable."""

MOST_BYTES: Final = 4 * 1024 * 1024


def router(front: Front, take: Take) -> APIRouter:
    """The routes."""
    made = APIRouter()

    async def tell(request: Request, destination: str) -> Response:
        caller = await front.caller(request)
        body = await read_body(request, front.limits, front.budget)
        if body.trouble or len(body.data) > MOST_BYTES:
            raise Refused("GW-RECEIVE-008", limit=str(min(MOST_BYTES, front.limits.max_body)), kept="0")
        answer = await take(destination, caller.id, dict(request.headers), body.data)
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        return Response(answer.body, answer.status, headers, answer.media_type)

    made.add_api_route("/told/{destination}", tell, methods=["POST"], response_model=None)
    made.add_api_route("/told/{destination}/{rest:path}", tell, methods=["POST"], response_model=None)
    return made
