"""`kill -9` before and after the commit of every named step, in the real process, over one ledger that lives on.

Each group is one site. Its gateway is started with an order to die at a certain commit, is given what makes that
step happen, dies, and the next start is already the next point: what one crash left is the next one's beginning. At
the end the partners' own logs are compared with the ledger.
"""

from __future__ import annotations

import ast
import asyncio
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from oracle import ROOT, Pushed, push_until_acknowledged, stay_document, stay_messages, violations

from gateway import store
from gateway.clock import SystemClock
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.errors import GatewayError, Misconfigured
from gateway.message import Answer
from gateway.simulate import arrivals
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.faults import Answer as Said
from gateway.simulate.server import Judged, Running, StandIn

FATED = Path(__file__).with_name("fated_gateway.py")
CACHED = {"PYTHONDONTWRITEBYTECODE": ""}
EXCUSED = {
    "owe": "needs findings within the microseconds after the first answer gave up waiting: tests/rooms/receive",
    "deliver.adopt": "needs a lane task that broke by a defect of ours: tests/rooms/deliver",
    "deliver.park": "needs a document that cannot be rendered: tests/rooms/deliver",
    "pull": "an audit event alone, of something that was read",
    "deliver.told": "needs a destination that tells the outcome by itself: tests/rooms/deliver/test_deliver_told.py",
    "recall": "an audit event alone, of what was recalled",
    "convert": "an audit event alone, of something that is not kept",
}
"""Steps that a whole process cannot be brought to on purpose, and where they are tested."""


class Chain:
    """One site, killed over and over."""

    def __init__(self, site: Site, number: int) -> None:
        self.site, self.number, self.pushed = site, number, Pushed()
        self.patient, self.died, self._tasks = 0, list[str](), list[asyncio.Task[None]]()

    async def point(self, when: str, step: str, trigger: Callable[[], Awaitable[None]] | None, more: str = "") -> None:
        """Start with the order to die, let the step happen, be dead."""
        order = f"{when}:{step}:{1 if trigger is None else self.number}"
        with suppress(Misconfigured):  # it may die before it is ready
            await self.site.start(wrap=(sys.executable, str(FATED), f"{order}{more}"))
            if trigger is not None:
                await trigger()
        try:
            assert await self.site.ended() == -signal.SIGKILL, f"{order}: {self.site.log_path.read_text()[-2000:]}"
        except TimeoutError:
            pytest.fail(f"{order} was never met; {self.died} were; {await self.site.ask('status')}")
        self.died.append(f"{when} {step}")

    async def both(self, step: str, trigger: Callable[[], Awaitable[None]] | None, more: str = "") -> None:
        """Before and after."""
        await self.point("before", step, trigger, more)
        await self.point("after", step, trigger, more)

    def background(self, work: Awaitable[None]) -> None:
        """Something that insists, over any number of restarts."""
        self._tasks.append(asyncio.ensure_future(work))

    async def _owed(self) -> bool:
        states = await self.site.ask("status")
        return any(each["thing"] == "answer" and each["state"] == "owed" and each["count"] for each in states)

    # --- what makes steps happen ----------------------------------------

    def _patients(self) -> Iterator[int]:
        for _ in range(self.number):
            self.patient += 1
            yield self.patient

    async def stays(self) -> None:
        """Two stays each of new patients over MLLP."""
        for patient in self._patients():
            self.background(self._stays(patient))

    async def _stays(self, patient: int) -> None:
        for stay in range(2):
            for body in stay_messages(patient, stay):
                await push_until_acknowledged(self.site, body, self.pushed)
            self.pushed.acknowledged[patient].append(stay)

    async def documents(self) -> None:
        """A stay each of new patients over HTTPS, waiting for the findings."""
        for patient in self._patients():
            self.background(self._document(patient))

    async def _document(self, patient: int) -> None:
        await self._insist(patient, stay_document(patient, 0), "application/json", (200, 201, 202))
        self.pushed.acknowledged[patient].append(0)

    async def refusals(self) -> None:
        """Bodies that no door takes."""
        for patient in self._patients():
            self.background(self._insist(patient, b"\x89PNG", "image/png", (400, 415, 422)))

    async def _insist(self, patient: int, body: bytes, media: str, wanted: Sequence[int]) -> None:
        key = f"key-{patient}"
        while True:
            with suppress(httpx.HTTPError):
                answer = await self.site.post("hospital-1", "sepas", media, body, Idempotency_Key=key)
                if answer.status_code in wanted:
                    return
            await asyncio.sleep(0.1)

    async def strangers(self) -> None:
        """Somebody who is not let in, from one address; the audit keeps one event a minute."""
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            await self.site.mllp([stay_messages(999, 0)[0].replace(b"|HIS|", b"|NOBODY|")], seconds=5)

    def faulty(self, name: str, *orders: str) -> Callable[[], Awaitable[None]]:
        """Stays, of which a stand-in gets the first ones wrong."""

        async def work() -> None:
            for order in orders:
                getattr(self.site, name).faults.order(f"{order}:{self.number}")
            await self.stays()

        return work

    async def acting(self, step: str, act: Callable[[], Awaitable[None]], again: bool = False) -> None:
        """A person's command, cut off before and after; and perhaps given again, because "not known" was the answer."""
        number, self.number = self.number, 1
        for when in ("before", "after"):

            async def cut_off() -> None:
                with pytest.raises(GatewayError, match="GW-DESK-004"):
                    await act()

            await self.point(when, step, cut_off)
            if again:
                await act()  # the ledger's owner is dead, so the command opens it itself
        self.number = number

    async def settle(self, but: Sequence[str] = (), person: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start for the last time, let everything end, stop in order, compare.

        A person may drop what a repository had in fact taken: that is an act on record, not a broken promise.
        """
        await self.site.start()
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)
        for _ in range(30):
            if await self.site.quiet(2, but) and not await self._owed():
                break
            await asyncio.sleep(1)
            if person is not None:
                await person()
        else:
            pytest.fail(f"it does not come to rest: {[s for s in await self.site.ask('status') if s['count']]}")
        assert await self.site.stop() == 0
        assert not self.pushed.negative
        assert self.pushed.acknowledged
        found = await violations(self.site, self.pushed)
        assert [each for each in found if person is None or not each.endswith(" is rejected")] == [], self.died


OCCURRENCES = [
    1,
    pytest.param(2, marks=pytest.mark.long),
    *[pytest.param(number, marks=pytest.mark.torture) for number in range(3, 26)],
]
occurrences = pytest.mark.parametrize("number", OCCURRENCES)
"""Which occurrence of the step is the fatal one, and how many messages are under way. The second
in `make test-all`, 25 with `make torture`."""


@pytest.mark.slow
@occurrences
async def test_killed_at_each_step_of_the_way_in(tmp_path: Path, number: int) -> None:
    """What was acknowledged is there and goes on; what was not is pushed again and is there once."""
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True, environment=CACHED)) as site:
        chain = Chain(site, number)
        await chain.acting("registry", lambda: site.enter_registry(registry(ROOT)), again=True)
        await chain.acting("conformity", site.enter_conformity, again=True)
        await chain.both("accept", chain.stays)
        await chain.both("itemise", chain.stays)
        await chain.both("gather", chain.stays)
        await chain.both("publish", chain.stays)
        await chain.both("answer", chain.documents)
        await chain.both("refuse", chain.refusals)
        chain.number = 1
        await chain.both("turn_away", chain.strangers)
        await chain.settle()


@pytest.mark.slow
@occurrences
async def test_killed_at_each_step_of_the_way_out(tmp_path: Path, number: int) -> None:
    """What never left goes again, what may have arrived is asked for, and nobody gets anything twice unrecorded."""
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True, environment=CACHED)) as site:
        chain = Chain(site, number)
        await site.enter_registry(registry(ROOT))
        chain.number = 1
        await chain.both("deliver.hold", chain.stays)
        await site.enter_conformity()
        await chain.both("deliver.let_go", None)
        chain.number = number
        await chain.both("deliver.claim", chain.stays)
        await chain.both("deliver.leave", chain.stays)
        await chain.both("deliver.settle", chain.stays)
        await chain.both("deliver.reconcile", chain.faulty("medcare", "drop-after"))
        await chain.both("deliver.poll", chain.faulty("medcare", "accepted-forever"))
        await chain.both("recover", None)
        await chain.settle()


@pytest.mark.slow
@occurrences
async def test_killed_at_each_step_of_an_operator(tmp_path: Path, number: int) -> None:
    """A command that was cut off says so, is done once or not at all, and nothing that a person decided is undone."""
    plan = Plan(home=ROOT, workers=1, plain_mllp=True, environment=CACHED, on_unknown="hold")
    async with Site(tmp_path, plan) as site:
        chain = Chain(site, number)
        await site.prepare(registry(ROOT))
        await chain.both("deliver.note", chain.faulty("medcare", "drop-after"))
        await chain.acting("replay", lambda: _act(site, "unknown", "replay"))
        await _park_one(chain)
        await chain.acting("drop", lambda: _act(site, "parked", "drop"))
        await _park_one(chain)
        await chain.acting("supersede", lambda: _act(site, "parked", "supersede"))
        await chain.acting("pause", lambda: _pause(site, "pause"))
        await _held_one(chain)
        await chain.acting("resume", lambda: _pause(site, "resume"))
        await chain.both("desk.release", None)
        await chain.acting("reload", lambda: _told(site.ask("reload")))
        await chain.settle(person=lambda: _replay_all(site))


async def _act(site: Site, state: str, act: str) -> None:
    """On the oldest exchange in that state."""
    found: list[dict[str, dict[str, str]]] = []
    async with asyncio.timeout(20):
        while not found:
            found = await site.ask("exchanges", state=state)
            await asyncio.sleep(0.05)
    await site.ask("act", exchange=found[0]["exchange"]["id"], act=act, reason="asked by telephone")


async def _told(asked: Awaitable[object]) -> None:
    await asked


async def _pause(site: Site, act: str) -> None:
    await site.ask(act, destination="medcare", reason="works on the line")


async def _held_one(chain: Chain) -> None:
    """Something for a destination that is paused."""
    await chain.site.start()
    await chain.stays()
    async with asyncio.timeout(30):
        while not await chain.site.ask("exchanges", state="held", destination="medcare"):
            await asyncio.sleep(0.05)
    await chain.site.kill()


async def _replay_all(site: Site) -> None:
    """What every crash left in doubt is in doubt until a person decides."""
    for state in ("unknown", "parked"):
        for exchange in await site.ask("exchanges", state=state):
            with suppress(GatewayError):  # it moved meanwhile
                await site.ask("act", exchange=exchange["exchange"]["id"], act="replay", reason="asked by telephone")


async def _park_one(chain: Chain) -> None:
    """A destination says that our credentials are not good enough, twice, and means it."""
    chain.site.medcare.faults.order("status=401:2")
    await chain.site.start()
    chain.patient += 1
    for body in stay_messages(chain.patient, 0) + stay_messages(chain.patient + 1, 0):
        await push_until_acknowledged(chain.site, body, chain.pushed)
    chain.patient += 1
    async with asyncio.timeout(20):
        while len(await chain.site.ask("exchanges", state="parked")) < 2:
            await asyncio.sleep(0.05)
    await chain.site.kill()


class Hook(StandIn):
    """A sender's webhook: takes everything, once it feels like it."""

    name = "hook"

    def judge(self, arrival: arrivals.Arrival) -> Judged:
        return Judged(Said(204, "text/plain", b""), {"result": "taken"})

    def lie(self, order: object, arrival: arrivals.Arrival, true: Judged) -> Said:
        return true.answer


SENDER = """
[[sender]]
id = "hospital-9"
programmes = ["sepas"]
[sender.callback]
url = "{url}/told"
peer = "hook"
events = ["accepted", "findings", "refused", "delivered", "rejected"]
[[sender.mllp]]
application = "HIS9"

[peer.hook]
origin = "{url}"
plaintext = true
"""


@pytest.mark.slow
@occurrences
async def test_killed_at_each_step_of_the_later_answers_and_of_time(tmp_path: Path, number: int) -> None:
    """Every later answer is given at least once under one id; what runs out of time runs out once."""
    home = tmp_path / "home"
    shutil.copytree(ROOT / "mappings", home / "mappings")
    (home / "profiles").symlink_to(ROOT / "profiles")
    plan = home / "mappings" / "sepas" / "programme.toml"
    plan.write_text(plan.read_text().replace('expires_after = "P30D"', 'expires_after = "PT2S"'))
    log = tmp_path / "hook.jsonl"
    async with Running(Hook(ArrivalLog(log))) as hook:
        kind = Plan(
            home=home,
            workers=1,
            plain_mllp=True,
            environment=CACHED,
            extra=SENDER.format(url=hook.url),
            answer_within=0,
        )
        async with Site(tmp_path, kind) as site:
            chain = Chain(site, number)
            await site.prepare(registry(ROOT))
            await chain.both("limit", lambda: _half_stay(chain))
            await chain.both("answer_later", lambda: _nine(chain))
            hook.stand_in.faults.order("status=503:4")
            await chain.point("before", "answer_again", lambda: _nine(chain))
            await chain.point("after", "answer_again", None)
            chain.number = 1
            await chain.point("before", "park", lambda: _poison(chain), ",poison:V700:0")
            await chain.point("after", "park", None, ",poison:V700:0")
            await chain.acting("retry", lambda: _retry(site))
            await chain.settle()
            await _every_answer_was_given(site, log)


async def _half_stay(chain: Chain) -> None:
    """Only admissions: their charges never come."""
    for _ in range(chain.number):
        chain.patient += 1
        chain.background(push_until_acknowledged(chain.site, stay_messages(chain.patient, 0)[0], chain.pushed))


async def _retry(site: Site) -> None:
    """The fault that parked it is mended."""
    (parked,) = [line["parked"] for line in await site.ask("parked")]
    await site.ask("retry", id=parked["id"], reason="mended")


async def _poison(chain: Chain) -> None:
    """A message that kills whoever works on it."""
    chain.background(push_until_acknowledged(chain.site, stay_messages(700, 0)[0], chain.pushed))


async def _nine(chain: Chain) -> None:
    """Stays of the hospital that wants to be told."""
    for _ in range(chain.number):
        chain.patient += 1
        chain.background(_one_of_nine(chain, chain.patient))


async def _one_of_nine(chain: Chain, patient: int) -> None:
    for body in stay_messages(patient, 0):
        await push_until_acknowledged(chain.site, body.replace(b"|HIS|", b"|HIS9|"), chain.pushed)
    chain.pushed.acknowledged[patient].append(0)


async def _every_answer_was_given(site: Site, log: Path) -> None:
    told = {dict(line["headers"])["webhook-id"] for line in arrivals.read(log) if "headers" in line}
    given: list[Answer] = []
    async with store.open("", Path(site.settings().data), SystemClock()) as ledger:
        counts = await ledger.counts()
        for id in {each.split("-")[0] for each in told}:
            given += [a for a in await ledger.answers(id) if a.kind != "first"]
    assert not counts["answer"].get("owed", (0, None))[0]
    assert {a.id for a in given} == told
    assert {a.state for a in given} == {"given"}


def _step_names(package: Path) -> Iterator[str]:
    """Every name that a `Step` can get, from the syntax trees."""
    builders = {"move", "moves", "settle", "insist"}
    for path in package.rglob("*.py"):
        prefix = "deliver." if path.parent.name == "deliver" else ""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            if called == "Step":
                named = next((each.value for each in node.keywords if each.arg == "name"), None)
                yield from (n.value for n in ast.walk(named) if isinstance(n, ast.Constant)) if named else ()
            elif prefix and called in builders:
                yield from (
                    f"deliver.{each.value}"
                    for each in node.args[-3:]
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                )


def test_no_named_step_is_forgotten() -> None:
    """A step that somebody adds is killed as well, or says here why not."""
    named = {each for each in _step_names(ROOT / "gateway") if each not in ("deliver.", "")}
    source = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert named - words == set(), "these are never killed"
    assert EXCUSED.keys() <= named | {"deliver.adopt"}
