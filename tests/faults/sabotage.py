"""Sabotage as data: what a build that breaks a promise looks like, and the test that must notice.

Each entry replaces exact text in a copy of the package. A text that is not there any more is a defect of this list,
and the test that applies it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHECKS: Final = "tests/faults/test_faults_checks.py::"
PROMISES: Final = "tests/promises/"


@dataclass(frozen=True)
class Edit:
    """One replacement in one file of `gateway/`; the old text stands there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Sabotage:
    """A broken build. `test` is run against it and must fail with `says` in its report."""

    name: str
    promise: int
    edits: tuple[Edit, ...]
    test: str
    says: str
    needs: str = ""


SABOTAGES: Final = (
    Sabotage(
        "the acknowledgement does not wait for the commit",
        1,
        (
            Edit(
                "receive/door.py",
                "        await self._commit(acceptance.together(step,"
                " acceptance.record(answer, judged.submission, now)))\n        return given",
                "        both = acceptance.together(step, acceptance.record(answer, judged.submission, now))\n"
                "        self._early = asyncio.ensure_future(self._commit(both))\n        return given",
            ),
        ),
        CHECKS + "test_killed_before_the_commit_of_an_acceptance",
        "promise 1",
    ),
    Sabotage(
        "nothing is synced",
        1,
        (Edit("store/engine.py", '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=OFF"'),),
        PROMISES + "test_promise_01_acknowledged_is_on_disk.py::"
        "test_every_acknowledgement_leaves_after_a_sync_of_what_was_written",
        "assert bad == 0",
        needs="strace",
    ),
    Sabotage(
        "only checkpoints are synced",
        1,
        (Edit("store/engine.py", '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=NORMAL"'),),
        PROMISES + "test_promise_01_acknowledged_is_on_disk.py::"
        "test_every_acknowledgement_leaves_after_a_sync_of_what_was_written",
        "assert bad == 0",
        needs="strace",
    ),
    Sabotage(
        "what is held is counted as finished",
        2,
        (
            Edit(
                "flow.py",
                'frozenset({"delivered", "rejected", "superseded"})',
                'frozenset({"delivered", "rejected", "superseded", "held"})',
            ),
        ),
        PROMISES + "test_promise_02_nothing_waits_unseen.py",
        "held",
    ),
    Sabotage(
        "what may have arrived is simply sent again",
        3,
        (
            Edit(
                "deliver/lane.py",
                '            return Outcome(state="unknown", codes=_codes(fault) or (decide.MAY_HAVE,))',
                '            return Outcome(state="due", codes=_codes(fault))',
            ),
        ),
        CHECKS + "test_a_connection_that_breaks_after_the_last_byte_leaves_nobody_knowing",
        "promise 3",
    ),
    Sabotage(
        "a repeat leaves no record",
        3,
        (
            Edit(
                "deliver/decide.py",
                'return Outcome(state="due", codes=(SENT_AGAIN,)) if resend else None',
                'return Outcome(state="due") if resend else None',
            ),
        ),
        CHECKS + "test_killed_between_the_answer_of_the_destination_and_its_commit",
        "promise 3",
    ),
    Sabotage(
        "anything that is due may leave, whatever stands before it",
        4,
        (Edit("store/ask_delivery.py", "    _exchange.c.head == ONE,\n", ""),),
        CHECKS + "test_a_later_stay_waits_for_the_earlier_one_that_was_put_off",
        "promise 4",
    ),
    Sabotage(
        "the document is written anew after it was signed",
        5,
        (
            Edit(
                "work.py",
                "made = steps.document(programme, case, items, body, proof, at)",
                """made = steps.document(programme, case, items, body.replace(b'":', b'": '), proof, at)""",
            ),
        ),
        PROMISES + "test_promise_05_bytes_never_change.py::test_received_signed_and_sent_bytes_are_those_on_disk",
        "test_received_signed_and_sent_bytes_are_those_on_disk",
    ),
    Sabotage(
        "what was received is tidied before it is kept",
        5,
        (Edit("receive/mllp.py", "else event.data,", "else event.data.strip(),"),),
        PROMISES + "test_promise_01_acknowledged_is_on_disk.py::test_what_was_acknowledged_survives_a_kill_at_once",
        "kept.body == body",
    ),
    Sabotage(
        "revocation is not asked about",
        6,
        (
            Edit(
                "sign/trust.py",
                "        if leaf.fingerprint(hashes.SHA256()).hex() in self._revocations.known().withdrawn:\n"
                '            _no("GW-SIGN-028", leaf)\n',
                "",
            ),
        ),
        CHECKS + "test_a_credential_that_is_revoked_closes_the_gate",
        "test_a_credential_that_is_revoked_closes_the_gate",
    ),
    Sabotage(
        "what nobody read is not listed",
        7,
        (
            Edit(
                "map/mapping.py",
                "unread = list(run.root.leaves(run.seen))",
                "unread = list(run.root.leaves(run.seen))[:0]",
            ),
        ),
        PROMISES + "test_promise_07_nothing_is_dropped_silently.py::test_a_field_that_nobody_reads_is_listed_as_unread",
        "ZZ9",
    ),
    Sabotage(
        "an error of the mapping is swallowed",
        8,
        (
            Edit(
                "message.py",
                'return any(f.severity == "error" for f in self.findings)',
                'return any(f.severity == "fatal" for f in self.findings)',
            ),
        ),
        PROMISES + "test_promise_08_refusals_can_be_mended.py::"
        "test_each_bad_input_gets_a_code_a_place_a_mend_and_is_kept_as_refused",
        "201",
    ),
    Sabotage(
        "a refusal without its code",
        8,
        (
            Edit(
                "receive/answers.py",
                '"details": {"coding": [{"system": CODE_SYSTEM, "code": found.code}], "text"',
                '"details": {"text"',
            ),
        ),
        PROMISES + "test_promise_08_refusals_can_be_mended.py::"
        "test_each_bad_input_gets_a_code_a_place_a_mend_and_is_kept_as_refused",
        "coding",
    ),
    Sabotage(
        "a step without its audit event",
        9,
        (
            Edit(
                "steps.py",
                'return Step(name="gather", at=at, moves=moves, writes=(gathered, joined), audit=(event,))',
                'return Step(name="gather", at=at, moves=moves, writes=(gathered, joined))',
            ),
        ),
        PROMISES + "test_promise_09_no_audit_no_step.py::"
        "test_each_visible_step_has_its_event_in_its_own_commit_also_after_a_kill",
        "without an event",
    ),
    Sabotage(
        "a name is logged",
        10,
        (
            Edit(
                "work.py",
                "        sender = self._senders.get(submission.sender)\n",
                "        sender = self._senders.get(submission.sender)\n"
                '        said = submission.body.partition(b"PID")[2][:99].decode("ascii", "ignore")\n'
                '        _log.info("examining", id=said)\n',
            ),
        ),
        PROMISES + "test_promise_10_nothing_clinical_leaks.py::"
        "test_canaries_in_every_name_field_are_in_no_log_and_no_error_page",
        "QANARY",
    ),
    Sabotage(
        "a message may be as long as it likes",
        11,
        (
            Edit("receive/framing.py", "        if size > self._limit and not half_end:", "        if size < 0:"),
            Edit("receive/budget.py", "if self.used + count > self._limit:", "if self.used < 0:"),
        ),
        CHECKS + "test_a_message_without_an_end_takes_no_memory",
        "kilobytes",
    ),
    Sabotage(
        "one destination at a time",
        12,
        (
            Edit("deliver/lane.py", "REMEMBERED: Final = 4096", "_TURN = asyncio.Lock()\nREMEMBERED: Final = 4096"),
            Edit(
                "deliver/lane.py",
                "            return await self.wire.send(attempt)\n",
                "            async with _TURN:\n                return await self.wire.send(attempt)\n",
            ),
        ),
        CHECKS + "test_a_destination_that_does_not_answer_delays_no_other",
        "== 6",
    ),
)
