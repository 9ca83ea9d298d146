"""SFTP towards one peer (RFC 4251 to 4254; draft-ietf-secsh-filexfer-02, which OpenSSH calls version 3).

Part of the way out: only `gateway.network` calls it. What is promised: the server shows one of the host keys of the
settings, or nothing leaves; we show the key of the settings and nothing else (no agent, no password, no configuration
of the account that the gateway runs under); a file appears under its name whole or not at all.

A file is written aside and renamed, so nothing has arrived until the rename was asked for. Everything that goes wrong
before that is `NotSent`, however many bytes had left; a rename that is refused is `NotSent` too; a rename without an
answer is `MaybeSent`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
from collections.abc import AsyncIterator, Sequence
from typing import Final, cast
from urllib.parse import urlsplit

import asyncssh

from gateway.errors import Misconfigured
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Peer, secret

UNREACHABLE: Final = "GW-NET-001"
NO_SESSION: Final = "GW-NET-002"
OTHER_HOST_KEY: Final = "GW-NET-003"
SETTINGS: Final = "GW-NET-010"
LOGIN_REFUSED: Final = "GW-NET-012"
NOT_TAKEN: Final = "GW-NET-013"
NOT_READ: Final = "GW-NET-014"

_BREAKS: Final = (asyncssh.Error, OSError, TimeoutError)
# Raised by our own side when nobody answered, or when what answered was no answer.
_UNANSWERED: Final = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPBadMessage)

asyncssh.set_log_level(logging.ERROR)  # it would write the name of each file


class FileServer:
    """One peer whose origin is sftp://host:port."""

    def __init__(self, name: str, peer: Peer, origin: str) -> None:
        if not origin:
            raise Misconfigured(SETTINGS, detail=f"peer {name}: origin is not sftp://host:port")
        address = urlsplit(origin)
        self.origin, self._peer = origin, peer
        self._host, self._port = address.hostname or "", address.port or 22
        self._passphrase = secret(peer.key_password).decode() if peer.key_password else None
        if not peer.user or not peer.key or not peer.host_keys:
            raise Misconfigured(SETTINGS, detail=f"peer {name}: SFTP needs user, key and host_keys")
        try:
            self._host_keys = [asyncssh.import_public_key(line) for line in peer.host_keys]
            asyncssh.load_keypairs(peer.key, self._passphrase)
        except (OSError, ValueError) as error:
            raise Misconfigured(SETTINGS, detail=f"peer {name}: {type(error).__name__}") from None

    async def put(self, folder: str, files: Sequence[tuple[str, bytes]], ending: str, timeout: float) -> None:
        """Let the files appear in this order; `NotSent` and `MaybeSent` are said of the last one."""
        stage, folder = "before", _below(folder)
        try:
            async with asyncio.timeout(min(timeout, self._peer.total_seconds)), self._session() as sftp:
                for number, (name, body) in enumerate(files, 1):
                    aside = posixpath.join(folder, f".{name}{ending}")
                    await _write(sftp, aside, body)
                    stage = "renaming" if number == len(files) else stage
                    await _rename(sftp, aside, posixpath.join(folder, name), body)
                stage = "after"
        except _BREAKS as error:
            if stage != "after":  # what breaks while the session is being closed is nobody's concern
                raise _broke(error, stage == "renaming") from error

    async def get(self, path: str, limit: int, timeout: float) -> bytes | None:
        """A file's first bytes, None where there is none. Reading changes nothing: whatever breaks is `NotSent`."""
        try:
            async with asyncio.timeout(min(timeout, self._peer.total_seconds)), self._session() as sftp:
                return await _read(sftp, _below(path), limit)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return None
        except _BREAKS as error:
            raise NotSent(NOT_READ) from error

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """A connection of its own, with an SFTP session on it."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._connect())
                sftp = await stack.enter_async_context(connection.start_sftp_client())
            except asyncssh.HostKeyNotVerifiable as error:
                raise NotSent(OTHER_HOST_KEY) from error
            except asyncssh.PermissionDenied as error:
                raise NotSent(LOGIN_REFUSED) from error
            except (OSError, TimeoutError, asyncssh.ConnectionLost) as error:
                raise NotSent(UNREACHABLE) from error
            except (asyncssh.Error, ValueError) as error:  # ValueError: the key's file was spoiled meanwhile
                raise NotSent(NO_SESSION) from error
            yield sftp

    def _connect(self) -> contextlib.AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
        peer = self._peer
        return asyncssh.connect(
            self._host,
            self._port,
            username=peer.user,
            client_keys=[peer.key],  # read anew each time, so that a changed key needs no restart
            passphrase=self._passphrase,
            known_hosts=(self._host_keys, [], []),
            preferred_auth="publickey",
            config=None,
            agent_path=None,
            connect_timeout=peer.connect_seconds,
            login_timeout=peer.first_byte_seconds,
        )


def _below(path: str) -> str:
    """/x is absolute; /~/x lies below the account's own folder."""
    return path.removeprefix("/~/")


def _broke(error: Exception, renaming: bool) -> NotSent | MaybeSent:
    """The failure in the two words that delivery understands."""
    said_no = isinstance(error, asyncssh.SFTPError) and not isinstance(error, _UNANSWERED)
    if said_no or not renaming:
        return NotSent(NOT_TAKEN)
    return MaybeSent("GW-NET-006" if isinstance(error, TimeoutError) else "GW-NET-005")


async def _write(sftp: asyncssh.SFTPClient, aside: str, body: bytes) -> None:
    """All bytes, synced where the server knows how, and counted by the server."""
    try:
        async with sftp.open(aside, "wb") as file:
            await file.write(body)
            with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
        if (await sftp.stat(aside)).size != len(body):
            raise asyncssh.SFTPFailure("short")
    except asyncssh.SFTPError:
        await _forget(sftp, aside)
        raise


async def _rename(sftp: asyncssh.SFTPClient, aside: str, target: str, body: bytes) -> None:
    """Over whatever stands there, as POSIX says; where the server cannot, only if nothing or the same stands there."""
    try:
        try:
            await sftp.posix_rename(aside, target)
        except asyncssh.SFTPOpUnsupported:
            await sftp.rename(aside, target)
    except _UNANSWERED:
        raise
    except asyncssh.SFTPError:
        same = await _stands(sftp, target, body)
        await _forget(sftp, aside)
        if not same:
            raise


async def _stands(sftp: asyncssh.SFTPClient, target: str, body: bytes) -> bool:
    try:
        return await _read(sftp, target, len(body) + 1) == body
    except _UNANSWERED:
        raise
    except asyncssh.SFTPError:
        return False


async def _read(sftp: asyncssh.SFTPClient, path: str, limit: int) -> bytes:
    async with sftp.open(path, "rb") as file:
        return cast("bytes", await file.read(limit))


async def _forget(sftp: asyncssh.SFTPClient, aside: str) -> None:
    with contextlib.suppress(asyncssh.SFTPError):
        await sftp.remove(aside)
