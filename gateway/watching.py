"""`GET /metrics` on the HTTP listener: the Prometheus page for a caller with the role operator.

The page on the loopback port of [metrics] needs no credential; this one is for a collector on another machine, which
shows a client certificate or a bearer token like everybody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.errors import NotAllowed
from gateway.receive.http import Front


def router(front: Front, page: Callable[[], Awaitable[bytes]]) -> APIRouter:
    """The route. `page` gives nothing while the ledger cannot be asked; that is 503."""
    made = APIRouter()

    async def metrics(request: Request) -> Response:
        caller = await front.caller(request)
        if caller.role != "operator":
            raise NotAllowed
        body = await page()
        return Response(body, 200 if body else 503, {"cache-control": "no-store"}, CONTENT_TYPE_LATEST)

    made.add_api_route("/metrics", metrics, methods=["GET"], response_model=None)
    return made
