"""The MLLP front: both acknowledgement modes, several messages, every kind of broken frame, every limit."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from receive_peers import Findings, House, Peer, ScriptedStore, adt, errs, msa

from gateway.errors import finding
from gateway.message import Place
from gateway.receive import mllp
from gateway.receive.framing import wrap
from gateway.receive.mllp import Mode
from gateway.settings import Callback

BAD = (finding("GW-CORE-002", Place(notation="hl7v2", path="PID-3[2].1")),)


async def test_several_messages_on_one_connection_are_answered_in_order(house: House, store: ScriptedStore) -> None:
    """Joined in one packet, split over many: one answer each, in the order sent, kept in that order."""
    peer = await Peer.connect(await house.mllp())
    stream = b"".join(wrap(adt(f"M{n}")) for n in range(20))
    peer.send(stream[:1000])
    for n in range(1000, len(stream), 333):
        peer.send(stream[n : n + 333])
        await asyncio.sleep(0.001)
    assert [msa(await peer.answer()) for _ in range(20)] == [("AA", f"M{n}") for n in range(20)]
    assert [each.control_id for each in store.kept] == [f"M{n}" for n in range(20)]


async def test_one_byte_a_packet(house: House, store: ScriptedStore) -> None:
    """TCP may cut anywhere; what is kept is byte for byte what was sent."""
    peer = await Peer.connect(await house.mllp())
    for byte in wrap(adt()):
        peer.send(bytes([byte]))
        await asyncio.sleep(0)
    assert msa(await peer.answer()) == ("AA", "MSG-1")
    assert store.kept[0].body == adt()


# --- what an acknowledgement says -----------------------------------------------------------------


async def test_original_mode_names_the_field_in_err(house: House, findings: Findings) -> None:
    """AE with the findings that were ready in time: location, our code, text in the sender's language."""
    findings.found = BAD
    answer = await (await Peer.connect(await house.mllp())).ask(adt())
    assert msa(answer) == ("AE", "MSG-1")
    (err,) = errs(answer)
    assert err[2] == "PID^1^3^2^1"
    assert err[3].split("^")[2] == "HL70357"
    assert (err[4], err[5]) == ("E", "GW-CORE-002")
    assert err[8]


async def test_original_mode_says_aa_when_the_findings_take_longer(house: House, findings: Findings) -> None:
    """Accepted is accepted: what is found later is told by the callback."""
    findings.found = None
    house.within = 0.1
    answer = await (await Peer.connect(await house.mllp())).ask(adt())
    assert msa(answer) == ("AA", "MSG-1")


async def test_warnings_come_with_aa(house: House, findings: Findings) -> None:
    """A warning refuses nothing."""
    findings.found = (finding("GW-RECEIVE-006"),)
    answer = await (await Peer.connect(await house.mllp())).ask(adt())
    assert msa(answer)[0] == "AA"
    assert errs(answer)[0][4] == "W"


@pytest.mark.parametrize(
    ("accept", "application", "good", "bad"),
    [
        ("", "", "AA", "AE"),  # original mode
        ("AL", "NE", "CA", "CA"),  # enhanced: CA tells of the commit, not of the content
        ("AL", "AL", "CA", "CA"),
        ("SU", "NE", "CA", "CA"),
        ("ER", "NE", None, None),  # only failures of the commit are told
        ("AL", "", "CA", "CA"),
        ("NE", "AL", "AA", "AE"),  # original mode by another name
        ("NE", "ER", None, "AE"),
        ("NE", "SU", "AA", None),
        ("NE", "NE", None, None),
        ("", "AL", "AA", "AE"),
        ("NE", "", None, None),
    ],
)
async def test_acknowledgement_conditions(
    house: House,
    store: ScriptedStore,
    findings: Findings,
    accept: str,
    application: str,
    good: str | None,
    bad: str | None,
) -> None:
    """MSH-15 and MSH-16 by table 0155; the message is kept whatever is answered."""
    peer = await Peer.connect(await house.mllp())
    marker = adt("MARK")
    for wanted, found in ((good, ()), (bad, BAD)):
        findings.found = found
        id = "GOOD" if not found else "BAD"
        peer.send(wrap(adt(id, f15=accept, f16=application)))
        if wanted is not None:
            assert msa(await peer.answer()) == (wanted, id)
        else:
            await asyncio.sleep(0.05)
        findings.found = ()
        peer.send(wrap(marker))
        assert msa(await peer.answer()) == ("AA", "MARK")
    assert {"GOOD", "BAD"} <= {str(each.control_id) for each in store.kept}


async def test_enhanced_mode_refuses_the_header_with_cr(house: House) -> None:
    """A sender nobody knows: CR, with MSH-3 named in the text."""
    answer = await (await Peer.connect(await house.mllp())).ask(adt(application="NOBODY", f15="AL"))
    assert msa(answer) == ("CR", "MSG-1")
    assert errs(answer)[0][5] == "GW-RECEIVE-016"


async def test_a_wanted_application_acknowledgement_without_an_address_is_said_so(house: House) -> None:
    """Silence would leave the sender waiting for ever."""
    listener = await house.mllp()
    answer = await (await Peer.connect(listener)).ask(adt(f15="AL", f16="AL"))
    assert [each[5] for each in errs(answer)] == ["GW-RECEIVE-025"]
    house.senders = (msgspec.structs.replace(house.senders[0], callback=Callback(mllp_host="127.0.0.1")),)
    answer = await (await Peer.connect(await house.mllp())).ask(adt("MSG-2", f15="AL", f16="AL"))
    assert not errs(answer)


@pytest.mark.parametrize(
    ("language", "charset", "codec"),
    [
        ("fa", "", "utf-8"),
        ("fa", "UNICODE UTF-8", "utf-8"),
        ("fa", "WINDOWS-1256", "cp1256"),
        ("zh", "GB 18030-2000", "gb18030"),
        ("zh", "8859/1", "latin-1"),  # cannot hold Chinese: English instead
        ("it", "8859/1", "latin-1"),
    ],
)
async def test_the_acknowledgement_is_in_the_character_set_of_msh_18(
    house: House, findings: Findings, language: str, charset: str, codec: str
) -> None:
    """What the sender declared is what it can read."""
    findings.found = BAD
    house.senders = (msgspec.structs.replace(house.senders[0], language=language),)
    answer = await (await Peer.connect(await house.mllp())).ask(adt(f18=charset))
    assert answer is not None
    text = answer.decode(codec)
    assert "MSA|AE|MSG-1" in text
    assert f"|{charset or 'UNICODE UTF-8'}\r" in text
    assert "?" not in text


@pytest.mark.parametrize("version", ["2.3", "2.4", "2.5", "2.8"])
async def test_errors_are_told_in_the_senders_version(house: House, findings: Findings, version: str) -> None:
    """Before 2.5 ERR-1 is all there is; the field is named in every version."""
    findings.found = BAD
    answer = await (await Peer.connect(await house.mllp())).ask(adt(f12=version))
    assert msa(answer)[0] == "AE"
    assert errs(answer)[0][1 if version < "2.5" else 2].startswith("PID^1^3")


# --- broken frames --------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"not HL7", b"MSH", b"MSH|^~\\&", b"\xff\xfeM\x00", b"PID|1\r", b"\x00" * 50])
async def test_what_is_not_hl7_is_answered_ar_and_the_connection_lives(house: House, body: bytes) -> None:
    """Peers of other makes close silently here; the sender is told, and may go on."""
    house.senders = house.senders[:1]  # whose message it is can be told without MSH-3
    peer = await Peer.connect(await house.mllp())
    peer.send(wrap(body))
    assert msa(await peer.answer())[0] in ("AR", "AE")
    assert msa(await peer.ask(adt())) == ("AA", "MSG-1")


async def test_noise_before_the_start_block_is_passed_over(house: House) -> None:
    """CR LF between messages, and garbage, cost nothing but themselves."""
    peer = await Peer.connect(await house.mllp())
    peer.send(b"\r\n\r\n" + wrap(adt("A")) + b"garbage" + wrap(adt("B")))
    assert msa(await peer.answer()) == ("AA", "A")
    assert msa(await peer.answer()) == ("AA", "B")


async def test_a_missing_start_block_is_told(house: House, store: ScriptedStore) -> None:
    """The message is refused and kept; the next good one is accepted."""
    peer = await Peer.connect(await house.mllp())
    peer.send(adt("A") + b"\x1c\r" + wrap(adt("B")))
    answer = await peer.answer()
    assert (msa(answer), errs(answer)[0][5]) == (("AE", "A"), "GW-RECEIVE-018")
    assert msa(await peer.answer()) == ("AA", "B")
    assert [store.state(each) for each in store.kept] == ["refused", "received"]


async def test_a_cut_message_is_refused_and_kept(house: House, store: ScriptedStore) -> None:
    """A new start before the end: half a message is never accepted."""
    peer = await Peer.connect(await house.mllp())
    peer.send(b"\x0b" + adt("A")[:80] + wrap(adt("B")))
    answer = await peer.answer()
    assert (msa(answer), errs(answer)[0][5]) == (("AE", "A"), "GW-RECEIVE-017")
    assert msa(await peer.answer()) == ("AA", "B")
    assert store.kept[0].body == adt("A")[:80]


async def test_a_peer_that_closes_in_the_middle_leaves_a_refused_message(house: House, store: ScriptedStore) -> None:
    """What came is kept as refused, so that somebody can see why it is missing."""
    peer = await Peer.connect(await house.mllp())
    peer.send(b"\x0b" + adt()[:60])
    peer.writer.write_eof()
    assert msa(await peer.answer())[0] == "AE"
    assert store.state(store.kept[0]) == "refused"


async def test_a_missing_carriage_return_is_accepted_by_setting(house: House) -> None:
    """Some senders end blocks with FS alone."""
    peer = await Peer.connect(await house.mllp(accept_missing_cr=True))
    peer.send(b"\x0b" + adt("A") + b"\x1c")
    assert msa(await peer.answer()) == ("AA", "A")


# --- limits ---------------------------------------------------------------------------------------


async def test_a_message_past_the_limit_is_refused_and_the_connection_closed(
    house: House, store: ScriptedStore
) -> None:
    """Its beginning is kept; nothing after it is read."""
    peer = await Peer.connect(await house.mllp(max_message=100_000))
    peer.send(b"\x0b" + adt() + b"x" * 200_000)
    answer = await peer.answer()
    assert (msa(answer), errs(answer)[0][5]) == (("AE", "MSG-1"), "GW-RECEIVE-008")
    assert await peer.answer() is None
    assert len(store.kept[0].body) <= 64 * 1024


@pytest.mark.parametrize("tail", [b"", b"\x1c"])
async def test_a_slow_frame_is_cut(house: House, tail: bytes) -> None:
    """Slow loris, and an end block without CR: cut after frame_seconds, however it drips."""
    peer = await Peer.connect(await house.mllp(frame_seconds=0.4))
    began = asyncio.get_running_loop().time()
    peer.send(b"\x0b" + adt() + tail)

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.05)
            peer.send(b"x")

    dripping = asyncio.create_task(drip() if not tail else asyncio.sleep(60))
    answer = await peer.answer()
    dripping.cancel()
    assert errs(answer)[0][5] == "GW-RECEIVE-017"
    assert await peer.answer() is None
    assert 0.3 < asyncio.get_running_loop().time() - began < 1.5


async def test_an_idle_connection_is_closed(house: House) -> None:
    """Also one that sends noise to look busy."""
    peer = await Peer.connect(await house.mllp(idle_seconds=0.3))
    assert msa(await peer.ask(adt()))[0] == "AA"
    for _ in range(3):
        await asyncio.sleep(0.1)
        peer.send(b"\r\n")
    assert await peer.answer(seconds=1.0) is None


async def test_connections_are_bounded(house: House) -> None:
    """One too many is closed at once; when another goes its place is free again."""
    server = await house.mllp(max_connections=2)
    first, second = await Peer.connect(server), await Peer.connect(server)
    assert msa(await first.ask(adt()))[0] == msa(await second.ask(adt()))[0] == "AA"
    assert await (await Peer.connect(server)).answer() is None
    await first.close()
    await asyncio.sleep(0.05)
    assert msa(await (await Peer.connect(server)).ask(adt()))[0] == "AA"


async def test_a_peer_that_does_not_read_its_answers_is_dropped(
    house: House, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection ends; others go on."""
    monkeypatch.setattr(mllp, "WRITE_SECONDS", 0.3)
    findings.found = BAD * 100  # long answers
    server = await house.mllp()
    deaf, other = await Peer.connect(server, limit=1024), await Peer.connect(server)

    async def shout() -> None:
        while True:
            deaf.send(b"".join(wrap(adt(f"D{n}")) for n in range(7)))
            await deaf.writer.drain()
            await asyncio.sleep(0)

    shouting = asyncio.create_task(shout())
    assert msa(await other.ask(adt("OTHER"))) == ("AE", "OTHER")
    await asyncio.wait({shouting}, timeout=20)
    assert isinstance(shouting.exception(), ConnectionError)
    assert msa(await other.ask(adt("OTHER-2"))) == ("AE", "OTHER-2")


async def test_open_blocks_together_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many connections that each open a large block: the last ones are closed, memory is not."""
    monkeypatch.setattr(mllp, "MESSAGES_IN_MEMORY", 2)
    server = await house.mllp(max_message=100_000, frame_seconds=2.0)
    peers = [await Peer.connect(server) for _ in range(6)]
    for peer in peers:
        peer.send(b"\x0b" + adt() + b"x" * 80_000)
        await asyncio.sleep(0.03)
    assert server.budget.used <= 200_000
    for peer in peers:
        await peer.close()
    await asyncio.sleep(0.2)
    assert server.budget.used == 0


async def test_a_stranger_is_hung_up_on_before_a_byte_is_read(house: House, store: ScriptedStore) -> None:
    """No sender may speak from this address without a certificate."""
    house.senders = (msgspec.structs.replace(house.senders[0], mllp=()),)
    peer = await Peer.connect(await house.mllp())
    assert await peer.answer() is None
    assert store.steps[0].name == "turn_away"


async def test_a_defect_of_ours_is_a_negative_answer_with_a_reference(
    house: House, store: ScriptedStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sender is told at once that it was not accepted; the text of the exception goes nowhere."""
    store.fail = RuntimeError("CANARY")
    peer = await Peer.connect(await house.mllp())
    answer = await peer.ask(adt())
    assert msa(answer) == ("AE", "MSG-1")
    assert errs(answer)[0][5] == "GW-CORE-001"
    assert "CANARY" not in (answer or b"").decode() + capsys.readouterr().out
    store.fail = None
    assert msa(await peer.ask(adt()))[0] == "AA"


async def test_stopping_finishes_the_message_in_hand(house: House, store: ScriptedStore) -> None:
    """A stop between commit and answer would make every restart a duplicate."""
    store.delay = 0.2
    server = await house.mllp()
    busy, idle = await Peer.connect(server), await Peer.connect(server)
    busy.send(wrap(adt()))
    await asyncio.sleep(0.05)
    began = asyncio.get_running_loop().time()
    await server.stop()
    assert msa(await busy.answer()) == ("AA", "MSG-1")
    assert await idle.answer() is None
    assert asyncio.get_running_loop().time() - began < 2


async def test_the_programme_follows_from_the_listener_or_the_sender(house: House, store: ScriptedStore) -> None:
    """A sender of several programmes needs a listener that is bound to one."""
    peer = await Peer.connect(await house.mllp(programme=""))
    assert msa(await peer.ask(adt("A")))[0] == "AA"  # sender one has one programme
    answer = await peer.ask(adt("B", application="LAB"))
    assert (msa(answer)[0], errs(answer)[0][5]) == ("AE", "GW-RECEIVE-019")
    peer = await Peer.connect(await house.mllp(programme="second"))
    assert msa(await peer.ask(adt("C", application="LAB")))[0] == "AA"
    assert [each.programme for each in store.kept] == ["trial", "", "second"]


async def test_made_frames_over_a_socket(house: House) -> None:
    """Sixty streams of chaos: each is answered or closed within its limits, and the listener lives."""
    server = await house.mllp(frame_seconds=0.2, idle_seconds=0.5, max_message=5000)
    dice = random.Random(7)

    async def one() -> None:
        peer = await Peer.connect(server)
        pieces = [wrap(adt()), b"\x0b", b"\x1c\r", b"\x0b" + adt()[:30], dice.randbytes(200), b"\x0b" + b"x" * 6000]
        peer.send(b"".join(dice.choices(pieces, k=4)))
        while await peer.answer(seconds=5) is not None:
            pass

    await asyncio.gather(*(one() for _ in range(60)))
    assert msa(await (await Peer.connect(server)).ask(adt("LAST"))) == ("AA", "LAST")


def test_absent_headers_mean_original_mode() -> None:
    """What cannot be read is answered the plain way."""
    assert not Mode(None).enhanced
    assert Mode(None).wanted(positive=True)
