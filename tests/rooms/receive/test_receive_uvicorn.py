"""What we rely on inside uvicorn: a release that changes it fails here, with the reason, and not in production."""

from __future__ import annotations

import inspect
import logging

from receive_peers import Certificates, House, client
from uvicorn.config import Config
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.receive import server


def test_the_methods_that_we_override_are_there() -> None:
    """Same names, same arguments: an override that nobody calls would silently protect nothing."""
    ours = [
        name for name, what in vars(server.Protocol).items() if inspect.isfunction(what) and not name.startswith("_")
    ]
    assert {"connection_made", "data_received", "on_header", "on_headers_complete", "send_400_response"} <= set(ours)
    for name in ours:
        theirs = inspect.signature(getattr(HttpToolsProtocol, name)).parameters
        assert list(inspect.signature(getattr(server.Protocol, name)).parameters) == list(theirs), name


def test_the_attributes_that_we_use_are_there() -> None:
    """Set in the constructor or by the parser's callbacks."""
    source = inspect.getsource(HttpToolsProtocol)
    for name in (
        "self.connections",
        "self.tasks",
        "self.server_state",
        "self.scope",
        "self.cycle",
        "self.logger",
        "self.loop",
    ):
        assert name in source, name
    made = inspect.signature(HttpToolsProtocol.__init__).parameters
    assert list(made)[1:4] == ["config", "server_state", "app_state"]
    assert "default_headers" in inspect.getsource(RequestResponseCycle)
    assert "self.server_state.default_headers" in source
    assert {"connections", "tasks", "default_headers"} <= set(vars(ServerState()))


def test_the_body_is_not_buffered_without_bound() -> None:
    """Reading pauses above the high-water mark, so that our limit is met chunk by chunk."""
    assert "pause_reading" in inspect.getsource(HttpToolsProtocol.on_body)
    assert httptools_impl.HIGH_WATER_LIMIT <= 1 << 20


def test_our_protocol_class_is_what_the_configuration_uses() -> None:
    """`http=` accepts a class; websockets and lifespan stay off."""
    config = Config(
        app=lambda: None, http=server.Protocol, ws="none", lifespan="off", interface="asgi3", log_config=None
    )  # type: ignore[arg-type]
    config.load()
    assert config.http_protocol_class is server.Protocol
    assert config.ws_protocol_class is None


async def test_the_client_certificate_reaches_the_application(house: House, certificates: Certificates) -> None:
    """The ASGI TLS extension, as PEM, leaf first; an anonymous caller has an empty chain."""
    import httpx

    seen = []

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        seen.append(scope["extensions"]["tls"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    from gateway.settings import Http

    listener = server.HttpServer(app, Http(port=0, tls=certificates.tls()))
    await listener.start()
    house.running.append(listener)
    for who in ("good", None):
        async with httpx.AsyncClient(verify=certificates.client(who), trust_env=False) as web:
            assert (await web.get(f"https://127.0.0.1:{listener.port}/")).status_code == 204
    assert seen[0]["client_cert_chain"] == [(certificates.folder / "good.pem").read_text()]
    assert seen[0]["tls_version"] == "TLSv1.3"
    assert seen[1]["client_cert_chain"] == []


async def test_exceptions_are_logged_without_their_text(house: House, caplog) -> None:  # type: ignore[no-untyped-def]
    """uvicorn logs what an application raises; its text may quote what was sent."""
    from gateway.settings import Http

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        raise RuntimeError("CANARY")

    listener = server.HttpServer(app, Http(port=0))
    await listener.start()
    house.running.append(listener)
    with caplog.at_level(logging.DEBUG):
        async with client(listener) as web:
            assert (await web.get("/")).status_code == 500
    assert "CANARY" not in caplog.text
    assert "Exception in ASGI application" in caplog.text
