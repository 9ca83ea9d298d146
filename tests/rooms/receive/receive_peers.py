"""What the tests of room receive are made of: a scripted store, rooms behind the door, listeners, lying peers."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway import flow
from gateway.clock import SystemClock
from gateway.errors import StaleState
from gateway.flow import NEW, Thing
from gateway.kept import ItemStatus, JournalEntry, SubmissionStatus
from gateway.message import Answer, Committed, Finding, Step, Submission
from gateway.receive.door import Door
from gateway.receive.framing import Block, Decoder, wrap
from gateway.receive.http import make_app
from gateway.receive.mllp import MllpServer
from gateway.receive.server import HttpServer
from gateway.settings import Http, Mllp, Sender, Settings, Tls
from gateway.sign.dev_ca import Authority

TOKEN = "test-token-one"
OTHER_TOKEN = "test-token-two"
PROGRAMME = "trial"


class ScriptedStore:
    """`ports.Store` as far as the door needs it, in memory, checking moves like the real one.

    `fail` is raised by the next commits; `log` notes every commit as it becomes durable.
    """

    def __init__(self) -> None:
        self.submissions: dict[str, Submission] = {}
        self.states: dict[tuple[Thing, str], str] = {}
        self.given: dict[str, Answer] = {}
        self.statuses: dict[str, SubmissionStatus] = {}
        self.steps: list[Step] = []
        self.log: list[str] = []
        self.fail: Exception | None = None
        self.fail_named: str | None = None
        self.delay = 0.0

    async def commit(self, step: Step) -> Committed:
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.fail is not None and self.fail_named in (None, step.name):
            raise self.fail
        for move in step.moves:
            flow.check(move.thing, move.frm, move.to, move.room)
            if self.states.get((move.thing, move.id), NEW) != move.frm:
                raise StaleState(thing=str(move.thing))
        if step.latest is not None:
            sender, control_id, newest = step.latest
            before = await self.earlier(sender, control_id)
            if (before[0].id if before else None) != newest:
                raise StaleState(thing="a control id")
        for move in step.moves:
            self.states[move.thing, move.id] = move.to
        for write in step.writes:
            if isinstance(write, Submission):
                self.submissions[write.id] = write
            elif isinstance(write, Answer):
                self.given[write.id] = write
        self.steps.append(step)
        self.log.append(f"commit {step.name}")
        return Committed(feed=len(self.steps))

    async def submission(self, id: str) -> Submission | None:
        return self.submissions.get(id)

    async def submission_status(self, id: str, first: int = 0, limit: int = 1000) -> SubmissionStatus | None:
        if id in self.statuses:
            found = self.statuses[id]
            return msgspec.structs.replace(found, counts=Counter(item.state for item in found.items))
        found = self.submissions.get(id)
        if found is None:
            return None
        state = self.states[Thing.SUBMISSION, id]
        return SubmissionStatus(
            id=id,
            sender=found.sender,
            programme=found.programme,
            state=state,
            received_at=found.received_at,
            settled=state == "refused",
        )

    async def earlier(self, sender: str, control_id: str) -> Sequence[Submission]:
        same = [s for s in self.submissions.values() if (s.sender, s.control_id) == (sender, control_id)]
        return [msgspec.structs.replace(s, body=b"") for s in reversed(same)][:10]

    async def first_answer(self, submission: str) -> Answer | None:
        found = (a for a in self.given.values() if a.submission == submission and a.kind == "first")
        return next(found, None)

    async def answers(self, submission: str) -> Sequence[Answer]:
        return [a for a in self.given.values() if a.submission == submission]

    async def answers_due(self, now: datetime, limit: int) -> Sequence[Answer]:
        heads: dict[str, Answer] = {}
        for each in self.given.values():
            if self.states[Thing.ANSWER, each.id] == "owed":
                heads.setdefault(each.sender, each)
        return [a for a in heads.values() if a.next_at is None or a.next_at <= now][:limit]

    async def items(self, submission: str, first: int = 0, limit: int | None = None) -> Sequence[Any]:
        return ()

    async def journal(
        self, submission: str, after: tuple[int, int] = (0, -1), limit: int = 10_000
    ) -> Sequence[JournalEntry]:
        return [
            JournalEntry(feed=n, at=step.at, thing=str(m.thing), id=m.id, frm=m.frm, to=m.to, room=str(m.room))
            for n, step in enumerate(self.steps, 1)
            for m in step.moves
            if submission in m.id
        ]

    @property
    def kept(self) -> list[Submission]:
        return list(self.submissions.values())

    def state(self, submission: Submission) -> str:
        return self.states[Thing.SUBMISSION, submission.id]


@dataclass
class Findings:
    """Stands for the rooms behind: what they find, and after how long. `found=None` never settles."""

    store: ScriptedStore
    found: tuple[Finding, ...] | None = ()
    after: float = 0.0
    asked: list[str] = field(default_factory=list)

    async def __call__(self, id: str, seconds: float) -> SubmissionStatus | None:
        self.asked.append(id)
        if self.found is None or self.after > seconds:
            await asyncio.sleep(seconds)
            return None
        await asyncio.sleep(self.after)
        self.settle(id, self.found)
        return self.store.statuses[id]

    def settle(self, id: str, found: tuple[Finding, ...]) -> None:
        submission = self.store.submissions[id]
        refused = any(each.severity == "error" for each in found)
        item = ItemStatus(id=f"{id}-0", label="message 1", state="refused" if refused else "valid", findings=found)
        self.store.statuses[id] = SubmissionStatus(
            id=id,
            sender=submission.sender,
            programme=submission.programme,
            state="itemised",
            received_at=submission.received_at,
            settled=True,
            items=(item,),
            counts={item.state: 1},
            language=submission.language,
        )


@dataclass
class Certificates:
    """Paths of PEM files by name, and fingerprints of the client certificates."""

    folder: Path
    authority: Authority
    fingerprints: dict[str, str] = field(default_factory=dict)

    def tls(self, **changed: Any) -> Tls:
        plain = {
            "certificate": str(self.folder / "server.pem"),
            "key": str(self.folder / "server.key"),
            "client_ca": str(self.folder / "ca.pem"),
            "client_optional": True,
        }
        return Tls(**(plain | changed))

    def client(self, who: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if who is not None:
            context.load_cert_chain(self.folder / f"{who}.pem", self.folder / f"{who}.key")
        return context


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class House:
    """Starts listeners on free loopback ports and stops them all at the end."""

    def __init__(self, store: Any, findings: Any, senders: tuple[Sender, ...]) -> None:
        self.store, self.findings, self.senders = store, findings, senders
        self.clock = SystemClock()
        self.running: list[Any] = []
        self.within = 0.3

    def door(self, **changed: Any) -> Door:
        named = {"programmes": (PROGRAMME, "second"), "answer_within": self.within}
        return Door(self.store, self.findings, self.clock, **(named | changed))

    async def http(self, door: Door | None = None, **changed: Any) -> HttpServer:
        http = Http(host="127.0.0.1", port=0, **changed)
        settings = Settings(http=http, sender=self.senders)
        app = make_app(settings, self.store, door or self.door(), self.clock)
        server = HttpServer(app, http)
        await server.start()
        self.running.append(server)
        return server

    async def mllp(self, door: Door | None = None, **changed: Any) -> MllpServer:
        settings = Mllp(host="127.0.0.1", port=0, **({"programme": PROGRAMME} | changed))
        server = MllpServer(settings, self.senders, door or self.door(), self.clock)
        await server.start()
        self.running.append(server)
        return server


def client(server: HttpServer, token: str | None = TOKEN, **changed: Any) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers=headers, trust_env=False, **changed)


def adt(
    control_id: str = "MSG-1", application: str = "HIS", facility: str = "WARD", extra: str = "", **msh: str
) -> bytes:
    """An invented ADT^A01. Keyword arguments `f15="AL"` fill fields of MSH."""
    fields = {3: application, 4: facility, 5: "GW", 6: "CENTRE", 7: "20260101120000", 9: "ADT^A01^ADT_A01",
              10: control_id, 11: "P", 12: "2.5.1"} | {int(key[1:]): value for key, value in msh.items()}  # fmt: skip
    head = "MSH|^~\\&|" + "|".join(fields.get(n, "") for n in range(3, max(fields) + 1))
    return f"{head}\rPID|1||TEST-0001||Patient-One^Test\r{extra}".encode()


class Peer:
    """An MLLP client that can do everything wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = Decoder(1 << 24)
        self._ready: list[bytes] = []

    @classmethod
    async def connect(cls, server: MllpServer, **kwargs: Any) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port, **kwargs))

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def answer(self, seconds: float = 3.0) -> bytes | None:
        """The next acknowledgement; None where the server closed instead."""
        async with asyncio.timeout(seconds):
            while not self._ready:
                try:
                    data = await self.reader.read(65536)
                except OSError:
                    return None
                if not data:
                    return None
                self._ready += [e.data for e in self._decoder.feed(data) if isinstance(e, Block)]
        return self._ready.pop(0)

    async def ask(self, message: bytes) -> bytes | None:
        self.send(wrap(message))
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()


def msa(acknowledgement: bytes | None) -> tuple[str, str]:
    """MSA-1 and MSA-2."""
    assert acknowledgement is not None
    line = next(s for s in acknowledgement.decode().split("\r") if s.startswith("MSA"))
    return ([*line.split("|"), ""])[1], ([*line.split("|"), "", ""])[2]


def errs(acknowledgement: bytes | None) -> list[list[str]]:
    """The ERR segments, split into fields."""
    assert acknowledgement is not None
    return [s.split("|") for s in acknowledgement.decode().split("\r") if s.startswith("ERR")]
