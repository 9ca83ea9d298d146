"""What worker processes do: map, validate and sign. They have no database and no network.

Each worker loads the rule sets once. Reference data arrives as a content-addressed file that the owner of the
ledger wrote (`write_registry`); its digest is part of the context, so a replay can be exact.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from gateway import map as mapping
from gateway import validate
from gateway.errors import Misconfigured
from gateway.flow import Room
from gateway.formats import json
from gateway.gather import documents, routes
from gateway.message import Context, Evidence, Finding, ItemResult, RegistryEntry, Submission
from gateway.ports import EvidenceSigner, Mapper
from gateway.programme import Programme
from gateway.programme import load as load_programme
from gateway.settings import Settings
from gateway.sign.keyring import FollowingEvidence, KeyRing
from gateway.validate.http import Question, Verdict, judge

Registry = Mapping[str, Mapping[str, tuple[RegistryEntry, ...]]]


class Rules(msgspec.Struct, frozen=True):
    """The compiled rule sets of one process."""

    programmes: Mapping[str, Programme]
    mapper: Mapper
    validator: validate.Rulebook

    @property
    def digest(self) -> str:
        """One digest over mappings, profiles and checks: it is recorded with each item."""
        return hashlib.sha256(f"{self.mapper.digest}\0{self.validator.digest}".encode()).hexdigest()


class Examined(msgspec.Struct, frozen=True):
    """One item's result, and the room that refused it, if one did."""

    result: ItemResult
    refused_by: Room | None = None

    def __reduce__(self) -> tuple[Callable[[bytes], Examined], tuple[bytes]]:
        """Between processes as one text: a tenth of what taking a thousand small values apart costs."""
        return _examined, (json.write(self),)


def _examined(written: bytes) -> Examined:
    return _READ(written)


_READ: Final = json.reader_of(Examined)


class Ask(msgspec.Struct, frozen=True):
    """What a worker needs beside the submission: the recorded clock and where the reference data lies."""

    now: datetime
    registry: str  # digest
    folder: str
    options: Mapping[str, str]


def load_programmes(settings: Settings) -> Mapping[str, Programme]:
    """Every programme of the settings, by name, with the routes of this installation."""
    found = {name: load_programme(Path(settings.home), name) for name in settings.programmes}
    return {
        name: msgspec.structs.replace(each, route=routes.installed(each.route, name, settings))
        for name, each in found.items()
    }


def load_mapper(settings: Settings, programmes: Mapping[str, Programme]) -> Mapper:
    """The mappings alone: what the parent needs, because it renders and does not validate."""
    return mapping.load(Path(settings.home), tuple(programmes.values()))


def load_rules(settings: Settings) -> Rules:
    """Every programme's mappings, profiles and checks, compiled; `Misconfigured` names all that is wrong."""
    home, programmes = Path(settings.home), load_programmes(settings)
    found = tuple(programmes.values())
    # A sender is told what it can mend: not our missing narrative, nor what no local table can decide.
    policy = validate.Policy(best_practice=False, undecided=False)
    return Rules(programmes, mapping.load(home, found), validate.load(home, found, policy=policy))


def write_registry(folder: Path, entries: Sequence[RegistryEntry]) -> str:
    """Keep the reference data as a file named by its digest; the same data is written once."""
    body = json.write(sorted(entries, key=lambda e: (e.kind, e.key, e.valid_from or "")))
    digest = hashlib.sha256(body).hexdigest()
    path = folder / f"{digest}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(body)
        temporary.rename(path)
    return digest


@lru_cache(maxsize=8)
def read_registry(folder: str, digest: str) -> Registry:
    """The reference data of that digest, by kind and key."""
    raw = json.read((Path(folder) / f"{digest}.json").read_bytes())
    found: dict[str, dict[str, list[RegistryEntry]]] = {}
    for entry in msgspec.convert(raw, list[RegistryEntry]):
        found.setdefault(entry.kind, {}).setdefault(entry.key, []).append(entry)
    return {kind: {key: tuple(rows) for key, rows in keys.items()} for kind, keys in found.items()}


def context_for(submission: Submission, ask: Ask, id_key: bytes) -> Context:
    """Everything that mapping and checks may know beside the submission itself."""
    registry = read_registry(ask.folder, ask.registry)
    return context_of(submission, ask.now, ask.registry, registry, ask.options, id_key)


def context_of(
    submission: Submission, now: datetime, named: str, registry: Registry, options: Mapping[str, str], id_key: bytes
) -> Context:
    """The frozen context; `named` is the digest of the registry, and part of the context's own digest."""
    words = f"{named}\0{submission.sender}\0{now.isoformat()}\0{sorted(options.items())}"
    return Context(
        digest=hashlib.sha256(words.encode()).hexdigest(),
        now=now,
        sender=submission.sender,
        programme=submission.programme,
        id_key=id_key,
        registry=registry,
        sender_options=options,
        overlays=overlays_of(options),
    )


def overlays_of(options: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """A sender's own codes, from its options: `code.TABLE.SOURCE = "target"`."""
    found: dict[str, dict[str, str]] = {}
    for name, target in options.items():
        kind, _, rest = name.partition(".")
        table, _, source = rest.partition(".")
        if kind == "code" and source:
            found.setdefault(table, {})[source] = target
    return found


def examine(rules: Rules, submission: Submission, context: Context) -> tuple[Examined, ...]:
    """Map, then validate what could be mapped. Pure: the same context gives the same result."""
    return tuple(_examine(rules, each(), context) for each in rules.mapper.one_by_one(submission, context))


def _examine(rules: Rules, mapped: ItemResult, context: Context) -> Examined:
    result = msgspec.structs.replace(mapped, rules_digest=rules.digest)
    if result.refused:
        return Examined(result, Room.MAP)
    found = (*result.findings, *rules.validator.findings(result, context))
    checked = msgspec.structs.replace(result, findings=found)
    return Examined(checked, Room.VALIDATE if checked.refused else None)


def evidence_signer(settings: Settings) -> EvidenceSigner:
    """The signer of documents: the one key of the settings whose purpose is evidence."""
    found = [name for name, key in settings.key.items() if key.purpose == "evidence"]
    if len(found) != 1:
        raise Misconfigured(detail=f"{len(found)} keys have the purpose evidence; exactly one is needed")
    return FollowingEvidence(KeyRing(settings.key), found[0])


# --- inside a worker process -------------------------------------------------------------------------

_rules: Rules | None = None
_signer: EvidenceSigner | None = None
_id_key: bytes = b""


def _end_with_parent() -> None:
    """Leave when the parent is gone, however it ended: a killed gateway must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def begin(settings: Settings, id_key: bytes) -> None:
    """Initialise a worker process; interrupts are the parent's business."""
    global _rules, _signer, _id_key
    os.nice(5)  # where both want the processor, a sender's acknowledgement comes before what follows from it
    threading.Thread(target=_end_with_parent, daemon=True, name="parent-watch").start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _rules, _id_key = load_rules(settings), id_key
    _signer = evidence_signer(settings)
    settle()


def settle() -> None:
    """Once the rules are loaded: they are never garbage, and results are freed by their counts, not by cycles.

    Without it the collector walks all rules again and again: an eighth of the parent's time, measured.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def settle_anew() -> None:
    """After a reload, where `settle` was called: let go of the former rules and leave the new ones alone."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
        gc.freeze()


class Part(msgspec.Struct, frozen=True):
    """Some items of a submission, in order; `last` if no more follow."""

    items: tuple[Examined, ...]
    last: bool


class _Taking:
    """A submission in the middle of being taken apart. Only forwards; what is passed over is read and not mapped."""

    def __init__(self, rules: Rules, submission: Submission, context: Context) -> None:
        self._rules, self._context = rules, context
        self._rest = rules.mapper.one_by_one(submission, context)
        self._ahead = next(self._rest, None)
        self.at = 0

    def _next(self) -> Callable[[], ItemResult] | None:
        now = self._ahead
        self._ahead = next(self._rest, None)
        self.at += 1
        return now

    def part(self, first: int, most: int) -> Part:
        while self.at < first and self._ahead is not None:
            self._next()
        made: list[Examined] = []
        while len(made) < most and (make := self._next()) is not None:
            made.append(_examine(self._rules, make(), self._context))
        return Part(tuple(made), self._ahead is None)


_OPEN: Final = 2
_taking: OrderedDict[tuple[str, datetime], _Taking] = OrderedDict()
"""The submissions of several parts that this process has begun, the latest last."""


def take(submission: Submission, ask: Ask, first: int, most: int) -> Part:
    """At most `most` items of the submission from the one numbered `first`, in a worker process."""
    assert _rules is not None
    taking = _Taking(_rules, submission, context_for(submission, ask, _id_key))
    part = taking.part(first, most)
    if not part.last:
        _taking[submission.id, ask.now] = taking
        while len(_taking) > _OPEN:
            _taking.popitem(last=False)
    return part


def peek(submission: Submission, ask: Ask, most: int) -> Part:
    """The first items of an input of which nothing is kept, in a worker process."""
    assert _rules is not None
    return _Taking(_rules, submission, context_for(submission, ask, _id_key)).part(0, most)


def take_on(id: str, ask: Ask, first: int, most: int) -> Part | None:
    """The next items, where this process has the submission open; else None, and it has to be sent again."""
    taking = _taking.pop((id, ask.now), None)
    if taking is None or taking.at > first:
        return None
    part = taking.part(first, most)
    if not part.last:
        _taking[id, ask.now] = taking
    return part


def answer(asked: Question) -> Verdict:
    """`$validate` in a worker process."""
    assert _rules is not None
    return judge(_rules.validator, asked)


def compiled(settings: Settings) -> tuple[str, Finding | None]:
    """Compile every rule of these settings, in a process of its own, and forget it: their digest, or what is wrong."""
    try:
        return load_rules(settings).digest, None
    except Misconfigured as fault:
        return "", fault.finding()


def seal(programme: str, body: bytes, derived: str, at: datetime) -> tuple[bytes, Evidence]:
    """The document's exact bytes, and the evidence signature over them.

    `derived` names the output mapping of what the programme derives from the whole case, which the document then has
    too; "" where it derives nothing.
    """
    assert _rules is not None
    assert _signer is not None
    if derived:
        bundle = json.reread(body)
        more = json.reread(_rules.mapper.render(bundle, f"{programme}/{derived}", {}))
        body = documents.joined(_rules.programmes[programme], bundle, more)
    return body, _signer.sign(body, at)
