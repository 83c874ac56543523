"""Two copies of a log held against each other: the first difference in few questions, and what signatures prove."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from app.ledger.checkpoint import Signer
from app.ledger.comparing import Comparison, Holder, LogCopy, compare, when
from app.ledger.copies import LeavesCopy
from app.ledger.cosignature import Cosigner
from app.ledger.descent import ShownRecord
from app.ledger.errors import BadProof
from app.ledger.evidence import is_evidence, weigh, write_evidence
from app.ledger.findings import Verdict
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys
from tests.receiver.sending import SendingLog

COSIGNER = Cosigner(bytes(range(32)), "receiver/anna")
AT_S = 1_764_000_000


def edited(log: SendingLog, *places: int, drop: Sequence[int] = ()) -> SendingLog:
    """A twin in which the requests at these places cost a picounit more, as a forger would write it: the totals that
    follow are his as well."""
    twin = log.twin()
    bodies, twin.bodies, twin.cum = twin.bodies, [], 0
    for seq, body in enumerate(bodies):
        if seq in drop:
            continue
        draft = decode(body).draft
        if seq in places:
            change = {"cost": draft.cost + 1} if draft.kind == "usage" else {"client": "Berta"}
            draft = dataclasses.replace(draft, **change)
        twin.append(draft)
    return twin


class Counted:
    """A copy that counts what it is asked."""

    def __init__(self, copy: LogCopy) -> None:
        self.copy = copy
        self.asked = 0

    async def newest(self) -> str:
        self.asked += 1
        return await self.copy.newest()

    async def record(self, seq: int, size: int) -> ShownRecord:
        self.asked += 1
        return await self.copy.record(seq, size)

    async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
        self.asked += 1
        return await self.copy.exhibit(seq)


def shows(
    log: SendingLog, size: int | None = None, *, cosigned: bool = True, note: str | None = None
) -> LeavesCopy:
    note = note or log.note(size)
    return LeavesCopy(log.bodies[:size], note + COSIGNER.cosign(note, AT_S) if cosigned else note)


async def held_against(
    ours: LeavesCopy,
    theirs: LogCopy,
    log: SendingLog,
    *,
    holder: Holder = Holder.GATEWAY,
    acked: str = "",
) -> Comparison:
    keys = SigningKeys(log.log, log.signer.verifier)
    return await compare(
        log.log, ours, theirs, keys.verify, holder=holder, cosigner=COSIGNER.verifier, acked=acked
    )


@pytest.fixture(scope="module")
def long() -> SendingLog:
    return SendingLog(records=9_999)


async def test_of_ten_thousand_records_the_first_that_differs_is_found_in_few_questions(
    long: SendingLog,
) -> None:
    chance = random.Random(7)
    for place in (0, 1, 4_095, 4_096, 8_191, 8_192, 9_998, 9_999, *chance.sample(range(10_000), 4)):
        # Which of them differ later must not matter.
        later = chance.sample(range(place, 10_000), min(3, 10_000 - place))
        counted = Counted(shows(edited(long, place, *later)))
        found = await held_against(shows(long), counted, long)
        assert (found.first, found.verdict) == (place, Verdict.FORK)
        assert counted.asked <= 14 + 4, place
        assert f"Record {place} of {long.log}" in found.sentence


async def test_logs_that_are_the_same_need_two_questions_and_are_ok(long: SendingLog) -> None:
    counted = Counted(shows(long))
    found = await held_against(shows(long), counted, long)
    assert (found.first, found.verdict, counted.asked) == (None, Verdict.OK, 2)
    assert "the same 10000 records" in found.sentence


@pytest.mark.parametrize("holder", list(Holder))
async def test_one_that_is_longer_is_said_with_who_lacks_what(holder: Holder) -> None:
    log = SendingLog(records=40)
    for size in (1, 31, 32, 40):
        found = await held_against(shows(log), shows(log, size), log, holder=holder)
        missing = 41 - size
        if holder is Holder.RECEIVER:
            # What is held here is signed, so the gateway has dropped it.
            assert found.verdict is Verdict.ROLLBACK
            assert f"has signed 41: it has dropped the newest {missing}," in found.sentence
        else:
            # It said itself that it holds all 41: our own note carries its cosignature.
            assert found.verdict is Verdict.ROLLBACK
            assert f"shows {size} records" in found.sentence
            assert "has cosigned 41" in found.sentence
        found = await held_against(shows(log, size), shows(log), log, holder=holder)
        assert found.first is None
        assert found.verdict is (Verdict.ROLLBACK if holder is Holder.GATEWAY else Verdict.LAGGING)
        assert str(missing) in found.sentence


async def test_a_receiver_that_never_acknowledged_more_only_lags() -> None:
    log = SendingLog(records=40)
    found = await held_against(shows(log, cosigned=False), shows(log, 30), log)
    assert (found.verdict, "lacks the newest 11 records" in found.sentence) == (Verdict.LAGGING, True)
    note = log.note(35)
    kept = note + COSIGNER.cosign(note, AT_S)
    found = await held_against(shows(log, cosigned=False), shows(log, 30), log, acked=kept)
    assert (found.verdict, "has cosigned 35" in found.sentence) == (Verdict.ROLLBACK, True)


async def test_a_receiver_that_holds_nothing_any_more_has_dropped_what_it_cosigned() -> None:
    class Nothing:
        async def newest(self) -> str:
            return ""

    log = SendingLog(records=4)
    found = await held_against(shows(log), Nothing(), log)  # type: ignore[arg-type]
    assert (found.verdict, "shows 0 records" in found.sentence) == (Verdict.ROLLBACK, True)
    weighed = weigh(write_evidence(found), [log.signer.verifier], [COSIGNER.verifier])
    assert weighed.proven
    assert weighed.sentences[0] == f"gw_1 has signed 5 records of {log.log}, and the receiver shows 0."
    assert "receiver/anna cosigned them at 2025-11-24" in weighed.sentences[1]


async def test_a_difference_before_the_end_of_the_shorter_one_is_found_too() -> None:
    log = SendingLog(records=99)
    for place in (0, 5, 63, 64, 69):
        for ours, theirs in ((100, 70), (70, 100)):
            found = await held_against(shows(log, ours), shows(edited(log, place), theirs), log)
            assert (found.first, found.verdict) == (place, Verdict.FORK)


async def test_a_receiver_that_changed_its_copy_shows_no_signature_and_is_convicted_by_its_own() -> None:
    log = SendingLog(records=20)
    forged = edited(log, 7)
    theirs = LeavesCopy(forged.bodies, await shows(log).newest())
    found = await held_against(shows(log), theirs, log)
    assert (found.first, found.verdict) == (7, Verdict.TAMPERED)
    assert (
        "ours is what the gateway signed, and the receiver itself cosigned ours (2025-11-24" in found.sentence
    )
    assert "do not lead to the checkpoint" in found.sentence
    text = write_evidence(found)
    weighed = weigh(text, [log.signer.verifier], [COSIGNER.verifier])
    assert weighed.proven
    assert weighed.sentences[0] == "Only one of the two records is what gw_1 signed."
    assert any("receiver/anna cosigned it" in sentence for sentence in weighed.sentences)
    assert not weigh(text, [Signer(bytes(32), "gw_1").verifier]).proven


async def test_our_own_copy_is_not_spared() -> None:
    log = SendingLog(records=20)
    ours = LeavesCopy(edited(log, 3).bodies, log.note())
    found = await held_against(ours, shows(log), log, holder=Holder.RECEIVER)
    assert (found.first, found.verdict) == (3, Verdict.TAMPERED)
    assert "it was changed here" in found.sentence
    both = await held_against(ours, LeavesCopy(edited(log, 3, 4).bodies, log.note()), log)
    assert both.verdict is Verdict.UNVERIFIABLE
    assert "neither side shows a signature" in both.sentence


async def test_the_same_records_without_a_signature_are_not_ok() -> None:
    log = SendingLog(records=20)
    stranger = Signer(bytes(32), "gw_1")
    note = stranger.sign_checkpoint(log.log, 21, log.root())
    for ours, theirs in ((shows(log), shows(log, note=note)), (shows(log, note=note), shows(log))):
        found = await held_against(ours, theirs, log)
        assert (found.first, found.verdict) == (None, Verdict.UNVERIFIABLE)
        assert "carries no signature of gw_1" in found.sentence
    found = await held_against(shows(log), shows(log, cosigned=False), log)
    assert (found.verdict, "withholds its cosignature" in found.sentence) == (Verdict.UNVERIFIABLE, True)


class Showing(Counted):
    """A copy whose newest checkpoint, or whose records, are another's."""

    def __init__(self, records: LogCopy, newest: str, **changes: Any) -> None:
        super().__init__(records)
        self.note = newest
        self.changes = changes

    async def newest(self) -> str:
        return self.note

    async def record(self, seq: int, size: int) -> ShownRecord:
        return dataclasses.replace(await self.copy.record(seq, size), **self.changes)


async def test_a_longer_log_must_grow_out_of_what_both_hold() -> None:
    log = SendingLog(records=20)
    ours, twin = shows(log, 15), edited(log, 3)
    forged = shows(twin)
    grown = (await forged.record(0, 15)).growth
    note = await forged.newest()
    for changes in ({"note": note, "growth": grown}, {"note": note, "growth": ()}, {"growth": grown}):
        found = await held_against(ours, Showing(shows(log), note, **changes), log)
        assert (found.first, found.verdict) == (None, Verdict.UNVERIFIABLE), changes
        assert "its records do not lead to the checkpoint that it shows" in found.sentence
    # Of one size nothing grows, and what is shown all the same proves nothing.
    found = await held_against(shows(log), Showing(shows(log), log.note(), growth=grown), log)
    assert found.verdict is Verdict.UNVERIFIABLE


async def test_the_newest_checkpoint_itself_must_be_signed_and_not_only_what_a_record_is_shown_under() -> (
    None
):
    log = SendingLog(records=20)
    forged = Signer(bytes(32), "gw_1").sign_checkpoint(log.log, 21, log.root())
    found = await held_against(shows(log), Showing(shows(log), forged), log)
    assert (found.verdict, "carries no signature" in found.theirs.unsigned) == (Verdict.UNVERIFIABLE, True)
    for ours, theirs in (
        (Showing(shows(log), ""), Showing(shows(log), forged)),
        (shows(log), Showing(shows(log), "")),
    ):
        found = await held_against(ours, theirs, log, holder=Holder.RECEIVER)  # type: ignore[arg-type]
        assert found.verdict is (Verdict.UNVERIFIABLE if theirs.note else Verdict.ROLLBACK)
    empty = Showing(shows(log), "")
    nothing = await held_against(empty, empty, log, holder=Holder.RECEIVER)  # type: ignore[arg-type]
    assert (nothing.verdict, nothing.ours.size, nothing.ours.unsigned) == (Verdict.OK, 0, "")


async def test_the_most_that_was_cosigned_counts_and_not_what_sorts_last() -> None:
    log = SendingLog(records=20)
    nine, ten = log.note(9), log.note(10)
    assert nine > ten
    kept = nine + COSIGNER.cosign(nine, AT_S)
    theirs = shows(log, 8, cosigned=False)
    for acked, ours in ((kept, shows(log, 10)), ("", shows(log, 10)), (kept, shows(log, 10, cosigned=False))):
        found = await held_against(ours, theirs, log, acked=acked)
        most = 10 if ours._note.count("—") == 2 else 9
        assert (found.verdict, f"has cosigned {most} of them" in found.sentence) == (Verdict.ROLLBACK, True)
        assert found.acked.split("\n")[1] == str(most)


def test_a_time_beyond_any_calendar_is_no_time() -> None:
    assert when(0) == "1970-01-01 00:00:00 UTC"
    assert when(2**63 - 1) == "at no time"


async def test_evidence_of_a_fork_convicts_the_gateway_whoever_weighs_it() -> None:
    log = SendingLog(records=20)
    found = await held_against(shows(log), shows(edited(log, 9)), log, holder=Holder.RECEIVER)
    text = write_evidence(found)
    assert is_evidence(text)
    weighed = weigh(text, [log.signer.verifier])
    assert (weighed.proven, weighed.sentences[0]) == (True, f"gw_1 has signed two histories of {log.log}.")
    assert len(weighed.sentences) == 3


async def test_evidence_that_was_changed_proves_nothing_more_than_what_is_signed() -> None:
    log = SendingLog(records=20)
    text = write_evidence(await held_against(shows(log), shows(edited(log, 9)), log))
    told = json.loads(text)
    told["theirs"]["proof"] = told["ours"]["proof"]
    assert not weigh(json.dumps(told), [log.signer.verifier]).proven
    told = json.loads(text) | {"verdict": "OK", "sentence": "Nothing happened.", "seq": 3}
    assert weigh(json.dumps(told), [log.signer.verifier]).proven
    for change in ({"form": "x"}, {"ours": 5}, {"log": "another/log"}):
        told = json.loads(text) | change
        if "log" in change:
            assert not weigh(json.dumps(told), [log.signer.verifier]).proven
            continue
        with pytest.raises(BadProof):
            weigh(json.dumps(told), [log.signer.verifier])
    for broken in ("", "{", "[]", "null", '{"form": "mortdecai-gateway/evidence/v1"}'):
        with pytest.raises(BadProof):
            weigh(broken, [log.signer.verifier])


async def test_two_notes_of_one_size_are_a_fork_even_where_no_record_can_be_shown() -> None:
    log = SendingLog(records=20)
    found = await held_against(shows(log), shows(log, 15), log)
    told = json.loads(write_evidence(found))
    told["theirs"]["checkpoint"] = edited(log, 3).note()
    weighed = weigh(json.dumps(told), [log.signer.verifier])
    assert weighed.proven
    assert "two histories of the first 21 records" in weighed.sentences[0]
    told["theirs"]["checkpoint"] = log.note()
    assert not weigh(json.dumps(told), [log.signer.verifier]).proven


async def test_who_shows_one_tree_and_then_another_is_caught() -> None:
    log = SendingLog(records=63)
    other, third = shows(edited(log, 40)), shows(edited(log, 41))

    class Turning(Counted):
        async def record(self, seq: int, size: int) -> ShownRecord:
            return await (other if seq == 0 else third).record(seq, size)

    with pytest.raises(BadProof, match="in another tree than the records before"):
        await held_against(shows(log), Turning(other), log)

    class Shifting(Counted):
        async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
            return await shows(log).exhibit(seq)

    with pytest.raises(BadProof, match="once so and once so"):
        await held_against(shows(log), Shifting(other), log)


async def test_what_is_no_copy_of_this_log_is_one_sentence() -> None:
    log, other = SendingLog(records=3), SendingLog(2, records=3)
    for theirs, said in (
        (shows(other), "is of gw_2/c_1, not of gw_1/c_1"),
        (LeavesCopy(log.bodies, "nonsense"), "checkpoint is none"),
        (Showing(shows(log), "nonsense"), "The checkpoint that the receiver shows is none: "),
        (LeavesCopy(log.bodies[:2], log.note()), "is over 4 records, and 2 are shown"),
    ):
        with pytest.raises(BadProof, match=said):
            await held_against(shows(log), theirs, log)


async def test_a_key_that_was_passed_on_vouches_for_no_longer_log() -> None:
    log = SendingLog(records=20)
    keys = SigningKeys(log.log, log.signer.verifier)
    new = Signer(b"n" * 32, "gw_1")
    keys = SigningKeys.known(log.log, [(0, log.signer.verifier), (11, new.verifier)])
    forged = edited(log, 15)
    mine = LeavesCopy(log.bodies, new.sign_checkpoint(log.log, 21, log.root()))
    found = await compare(log.log, mine, shows(forged), keys.verify, holder=Holder.RECEIVER)
    assert (found.first, found.verdict) == (15, Verdict.TAMPERED)
    assert "a key that was passed on before" in found.sentence
    # A lagging copy from before is as good as it was.
    found = await compare(log.log, mine, shows(log, 9), keys.verify, holder=Holder.GATEWAY)
    assert found.verdict is Verdict.LAGGING
