"""Promise 5: what was received is kept byte for byte; documents and evidence never change; attempts are what left."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from oracle import arrivals, stay_messages

from gateway import store
from gateway.clock import SystemClock
from gateway.commands.site import Site
from gateway.sign import evidence
from gateway.sign.revocation import Folder
from gateway.sign.trust import Trust, anchors_from


async def test_received_signed_and_sent_bytes_are_those_on_disk(site: Site) -> None:
    """From the sender's bytes to the receiver's log, nothing is re-serialised on the way."""
    bodies = stay_messages(1, 1)
    await site.mllp(bodies)
    assert await site.quiet(30)
    await site.stop()
    trust = Trust("document", anchors_from(site.ca.ca), Folder(site.ca.revocation))
    async with store.open("", Path(site.settings().data), SystemClock()) as ledger:
        for body in bodies:
            found = await ledger.earlier("hospital-1", body.split(b"|")[9].decode())
            kept = await ledger.submission(found[0].id)
            assert kept is not None
            assert kept.body == body
            assert kept.digest == hashlib.sha256(body).hexdigest()
        for name in ("sepas", "medcare"):
            (exchange,) = await ledger.exchanges(destination=name)
            document = await ledger.document(exchange.document)
            assert document is not None
            evidence.verify(document.body, document.evidence, trust, SystemClock().now())
            (attempt,) = await ledger.attempts(exchange.id)
            (arrival,) = arrivals(site.logs[name])
            assert base64.b64decode(arrival["body"]) in attempt.request
            assert attempt.request_digest == hashlib.sha256(attempt.request).hexdigest()
            assert len(document.submissions) == 2  # every contributing submission is in its lineage


async def test_a_correction_makes_a_new_version_and_leaves_the_old_document_alone(site: Site) -> None:
    """The second bill of a stay updates the first at the destination, under the UIDs that it gave."""
    admission, bill = stay_messages(1, 1)
    await site.mllp([admission, bill])
    assert await site.quiet(30)
    await site.mllp([bill.replace(b"|P-", b"|P2-").replace(b"|1200000|", b"|1300000|")])
    assert await site.quiet(30)
    assert [line["verdict"]["result"] for line in _verdicts(site.logs["sepas"])] == ["created", "updated"]
    await site.stop()
    async with store.open("", Path(site.settings().data), SystemClock()) as ledger:
        exchanges = await ledger.exchanges(destination="sepas")
        documents = await ledger.documents(exchanges[0].case)
        assert [each.version for each in documents] == [1, 2]
        assert documents[0].digest != documents[1].digest


def _verdicts(log: Path) -> list[dict]:
    from gateway.simulate import arrivals as lines

    return [line for line in lines.read(log) if "verdict" in line]
