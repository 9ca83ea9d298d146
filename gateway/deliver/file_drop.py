"""File drop: the message appears in a folder whole or not at all (write aside, sync, rename, sync the folder).

`url` is the folder as a path, a file:// URL, or sftp://host:port/folder of the peer (/~/folder: below the account's
own). Options: `name` ("{exchange}.json"; {document} and {number} too),
`aside` (".partial", the ending of unfinished files). The body is the national message of `body`, or the document's
exact bytes. `signature` ("evidence") puts the document's detached JWS beside it first, as NAME.jws; only where the body
is the document itself. `receipts` is a folder in which the reader answers with NAME.receipt, a JSON file: until it is
there the exchange awaits it; `success`, `rejected`, `code`, `text` and `receipt.NAME` read it as the REST wire reads
answers. Without `receipts`, a file that is there is delivered.
A repeated delivery of the same bytes under the same name is the same file, so nothing comes twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gateway.deliver import folders, judge, paths
from gateway.deliver.wires import Parts
from gateway.errors import Broken, GatewayError, Misconfigured, finding
from gateway.formats import json
from gateway.message import Attempt, Document, Exchange, Outcome
from gateway.ports import Wire

PROTOCOL: Final = "file-drop"
NOT_WRITTEN: Final = "GW-DELIVER-023"
_RECEIPT: Final = 1 << 20


def make(parts: Parts) -> Wire:
    """A file drop."""
    return FileDrop(parts)


class FileDrop:
    """One folder."""

    subject_receipts: frozenset[str] = frozenset()
    unique_receipts: frozenset[str] = frozenset()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        url = parts.destination.url
        self._ending = parts.option("aside", ".partial")
        self._name = parts.option("name", "{exchange}.json")
        if not url or "/" in self._name or self._name.startswith("."):
            raise Misconfigured(detail=f"destination {parts.destination.id}: folder or name cannot be used")
        self._folder = folders.folder(url, parts)
        self._signed = parts.option("signature") == "evidence"
        if self._signed and parts.destination.body:
            raise Misconfigured(detail=f"destination {parts.destination.id}: the evidence signs the document itself")
        answers = parts.option("receipts")
        self._answers = folders.folder(answers, parts) if answers else None
        self._success = paths.Condition(parts.option("success", "$.status = ACCEPTED"))
        self._rejected = paths.Condition(parts.option("rejected", "$.status = REJECTED"))
        self._code = paths.compile_path(parts.option("code", "$.error.code"))
        self._text = paths.compile_path(parts.option("text", "$.error.text"))
        self._receipts = paths.compile_all(parts.options("receipt."))

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The file's bytes, after a first line with its name, a tab and its signature where it has one."""
        destination = self._parts.destination
        body = document.body
        if destination.body:
            values = {"system_id": destination.system_id, "exchange": exchange.id, **self._parts.options("value.")}
            body = self._parts.national()(json.reread(document.body), destination.body, {**values, **receipts})
        name = self._name.replace("{exchange}", exchange.id).replace("{document}", exchange.document)
        name = name.replace("{number}", str(number))
        if "/" in name or "\n" in name:
            raise Misconfigured(detail=f"destination {destination.id}: the file name is not a plain name")
        head = f"{name}\t{document.evidence.jws}" if self._signed else name
        return head.encode() + b"\n" + body, name

    async def send(self, attempt: Attempt) -> Outcome:
        """Put the file there; `due` where the disk does not take it, because then it is not there."""
        head, end, body = attempt.request.partition(b"\n")
        if not end:
            raise Broken(reference="attempt bytes")
        name, _, jws = head.decode().partition("\t")
        files = [(name, body)]
        if jws:
            files.insert(0, (f"{name}.jws", jws.encode()))
        try:
            await self._folder.put(files, self._ending)
        except OSError as error:
            found = finding(NOT_WRITTEN, detail=error.strerror or "")
            return Outcome(state="due", codes=(NOT_WRITTEN,), findings=(found,))
        return Outcome(state="delivered" if self._answers is None else "awaiting")

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """The folder can be asked: the same bytes under the name are delivered, no file is due.

        A consumer that removes what it has read leaves no trace; where that is so, set `on_unknown` to hold.
        """
        head, _, body = attempt.request.partition(b"\n")
        name = head.partition(b"\t")[0].decode()
        if self._answers is not None:
            told = self._receipt(await self._answers.get(f"{name}.receipt", _RECEIPT + 1))
            if told is not None:
                return told
        found = await self._folder.get(name, len(body) + 1)
        if found is None:
            return Outcome(state="due", codes=(judge.NOT_FOUND,))
        if found != body:
            return Outcome(state="unknown")
        return Outcome(state="delivered", codes=(judge.FOUND,)) if self._answers is None else Outcome(state="awaiting")

    def _receipt(self, read: bytes | None) -> Outcome | None:
        """What the reader's receipt says; None where there is none that can be read to its end."""
        if read is None:
            return None
        try:
            answer = json.read(read, _RECEIPT)
        except GatewayError:
            return None
        given = paths.take(self._receipts, answer)
        if self._success.holds(answer) and given.keys() == self._receipts.keys():
            return Outcome(state="delivered", receipts=given)
        if self._rejected.holds(answer):
            said = f"{paths.follow(self._code, answer) or ''} {paths.follow(self._text, answer) or ''}".strip()
            found = finding(judge.REJECTED, detail=said)
            return Outcome(state="rejected", codes=(judge.REJECTED,), findings=(found,))
        return Outcome(state="unknown", codes=(judge.UNREADABLE,))
