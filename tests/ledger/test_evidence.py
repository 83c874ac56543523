"""Evidence as a file: what is written, and what a file that somebody put together proves, and does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.ledger.checkpoint import Signer
from app.ledger.comparing import Comparison, Holder
from app.ledger.copies import LeavesCopy
from app.ledger.cosignature import Cosigner
from app.ledger.errors import BadProof
from app.ledger.evidence import FORM, is_evidence, weigh, write_evidence
from tests.ledger.test_comparing import AT_S, COSIGNER, edited, held_against, shows
from tests.receiver.sending import SendingLog

LOG = SendingLog(records=20)
KEYS = [LOG.signer.verifier]
STRANGER = Cosigner(b"s" * 32, "stranger")


async def forked() -> Comparison:
    return await held_against(shows(LOG), shows(edited(LOG, 9)), LOG, holder=Holder.RECEIVER)


def changed(found: Comparison, **changes: Any) -> str:
    return json.dumps(json.loads(write_evidence(found)) | changes)


async def test_the_file_is_for_people_too() -> None:
    found = await forked()
    text = write_evidence(found)
    told = json.loads(text)
    assert list(told) == ["form", "log", "verdict", "sentence", "seq", "acknowledged", "ours", "theirs"]
    assert (told["form"], told["log"], told["verdict"], told["seq"]) == (FORM, LOG.log, "FORK", 9)
    assert told["sentence"] == found.sentence
    assert (told["ours"]["holder"], told["theirs"]["holder"]) == ("receiver", "gateway")
    assert told["ours"]["checkpoint"] == found.ours.note
    assert text.startswith('{\n "form": "')
    assert "— gw_1 " in text, "a note reads as it was signed"
    assert text.endswith("}\n")


async def test_the_same_records_leave_no_proof_of_a_record_in_it() -> None:
    found = await held_against(shows(LOG), shows(LOG), LOG)
    assert (found.ours.exhibit, found.ours.exhibit_size, found.ours.cosigned) == (None, 0, None)
    told = json.loads(write_evidence(found))
    assert (told["seq"], "proof" in told["ours"], "proof" in told["theirs"]) == (None, False, False)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (f'{{"form": "{FORM}"}}', True),
        (f' \n{{"form": "{FORM}"}}', True),
        (FORM, False),
        ('{"form": "another"}', False),
        ("{" + " " * 5000 + FORM, False),
        ("{" + " " * (4096 - 1 - len(FORM)) + FORM, True),
        ("{" + " " * (4096 - len(FORM)) + FORM, False),
    ],
)
def test_what_looks_like_evidence_is_told_from_other_files_by_its_beginning(text: str, looks: bool) -> None:
    assert is_evidence(text) is looks


async def test_a_fork_needs_one_place_and_two_records() -> None:
    found = await forked()
    told = json.loads(write_evidence(found))
    weighed = weigh(json.dumps(told), KEYS, [STRANGER.verifier, COSIGNER.verifier])
    assert weighed.proven
    assert weighed.sentences[0] == f"gw_1 has signed two histories of {LOG.log}."
    for holder, said in zip(("receiver", "gateway"), weighed.sentences[1:], strict=True):
        assert said.startswith(
            f"Record 9 of {LOG.log} was signed by gw_1, and receiver/anna cosigned it at 2025-11-24"
        )
        assert f"It says, as the {holder} shows it: {{" in said
        assert "stranger" not in said
    # Two different records of one history are none, nor is one record twice.
    other = json.loads(write_evidence(await held_against(shows(LOG), shows(edited(LOG, 10)), LOG)))
    for proof in (other["ours"]["proof"], told["ours"]["proof"]):
        told["theirs"]["proof"] = proof
        weighed = weigh(json.dumps(told), KEYS)
        assert (weighed.proven, len(weighed.sentences)) == (False, 2)


async def test_what_two_different_names_signed_convicts_neither_of_them() -> None:
    log, other = SendingLog(records=20), Signer(b"o" * 32, "gw_other")
    twin = edited(log, 9)
    theirs = LeavesCopy(twin.bodies, other.sign_checkpoint(log.log, 21, twin.root()))
    told = json.loads(write_evidence(await held_against(shows(log), theirs, log)))
    told["theirs"]["checkpoint"] = theirs_note = await theirs.newest()
    keys = [log.signer.verifier, other.verifier]
    assert not weigh(json.dumps(told), keys).proven
    assert not weigh(sizes(log.note(), theirs_note), keys).proven
    # The key that the log passed on to has the old one's name.
    heir = Signer(b"h" * 32, "gw_1")
    theirs = LeavesCopy(twin.bodies, heir.sign_checkpoint(log.log, 21, twin.root()))
    found = await held_against(shows(log), theirs, log)
    keys = [log.signer.verifier, heir.verifier]
    for text in (write_evidence(found), sizes(log.note(), found.theirs.note)):
        weighed = weigh(text, keys)
        assert (weighed.proven, weighed.sentences[0][:32]) == (True, "gw_1 has signed two histories of")


async def test_who_holds_what_is_not_read_beyond_a_name() -> None:
    told = json.loads(write_evidence(await forked()))
    told["ours"]["holder"] = "z" * 21
    assert f"as the {'z' * 20} shows it" in weigh(json.dumps(told), KEYS).sentences[1]


async def test_one_signed_record_convicts_whoever_shows_another_and_none_convicts_nobody() -> None:
    found = await forked()
    told = json.loads(write_evidence(found))
    for side in ("ours", "theirs"):
        one = json.loads(json.dumps(told))
        one[side]["proof"] = "nonsense"
        weighed = weigh(json.dumps(one), KEYS)
        assert (weighed.proven, len(weighed.sentences)) == (True, 3)
        assert weighed.sentences[0] == "Only one of the two records is what gw_1 signed."
        unsigned = [said for said in weighed.sentences if "is not signed, so it proves nothing" in said]
        assert [said.split(" shows")[0] for said in unsigned] == [f"What the {told[side]['holder']}"]
    told["ours"]["proof"] = told["theirs"]["proof"] = "nonsense"
    weighed = weigh(json.dumps(told), KEYS)
    assert (weighed.proven, len(weighed.sentences)) == (False, 2)
    del told["theirs"]["proof"]
    assert len(weigh(json.dumps(told), KEYS).sentences) == 2, "one proof is enough to be about a record"


def sizes(ours: str, theirs: str, acknowledged: str | None = "") -> str:
    told: dict[str, Any] = {
        "form": FORM,
        "log": LOG.log,
        "ours": {"holder": "gateway", "checkpoint": ours},
        "theirs": {"holder": "receiver", "checkpoint": theirs},
    }
    return json.dumps(told if acknowledged is None else told | {"acknowledged": acknowledged})


def cosigned(note: str) -> str:
    return note + COSIGNER.cosign(note, AT_S)


def test_a_shorter_log_than_was_signed_is_proven_by_the_longest_signature() -> None:
    cases = [
        (sizes(LOG.note(21), LOG.note(15)), True, "gw_1 has signed 21 records of gw_1/c_1, and the receiver shows 15."),
        (sizes(LOG.note(15), LOG.note(21)), True, "gw_1 has signed 21 records of gw_1/c_1, and the gateway shows 15."),
        (sizes(LOG.note(20), LOG.note(19), LOG.note(21)), True,
         "gw_1 has signed 21 records of gw_1/c_1, and the receiver shows 19."),
        (sizes(LOG.note(5), ""), True, "gw_1 has signed 5 records of gw_1/c_1, and the receiver shows 0."),
        (sizes(LOG.note(5), LOG.note(5), None), False, "No signature in it is over more records than both sides show."),
        (sizes(LOG.note(5), LOG.note(5), LOG.note(4)), False,
         "No signature in it is over more records than both sides show."),
        (sizes("", ""), False, "No signature in it is over more records than both sides show."),
    ]  # fmt: skip
    for text, proven, said in cases:
        weighed = weigh(text, KEYS, [COSIGNER.verifier])
        assert (weighed.proven, weighed.sentences) == (proven, (said,)), text


def test_whose_cosignature_is_under_it_is_said_and_nobody_elses() -> None:
    text = sizes(cosigned(LOG.note(21)), LOG.note(15))
    weighed = weigh(text, KEYS, [STRANGER.verifier, COSIGNER.verifier])
    assert len(weighed.sentences) == 2
    assert weighed.sentences[1].startswith("receiver/anna cosigned them at 2025-11-24 ")
    assert weigh(text, KEYS).sentences == weighed.sentences[:1]
    # It is under the longest note that counts, and not under any other.
    text = sizes(LOG.note(21), cosigned(LOG.note(15)))
    assert len(weigh(text, KEYS, [COSIGNER.verifier]).sentences) == 1


def test_a_key_that_is_not_trusted_signs_nothing_and_each_of_several_may() -> None:
    stranger = Signer(b"x" * 32, "gw_1")
    foreign = stranger.sign_checkpoint(LOG.log, 99, bytes(32))
    assert not weigh(sizes(foreign, LOG.note(15)), KEYS).proven
    both = weigh(sizes(foreign, LOG.note(15)), [*KEYS, stranger.verifier])
    assert both.sentences[0].startswith("gw_1 has signed 99 records")
    elsewhere = LOG.signer.sign_checkpoint("gw_1/c_2", 99, bytes(32))
    assert not weigh(sizes(elsewhere, LOG.note(15)), KEYS).proven


@pytest.mark.parametrize("missing", ["form", "log", "ours", "theirs"])
async def test_a_file_that_lacks_a_part_is_none(missing: str) -> None:
    told = json.loads(write_evidence(await forked()))
    del told[missing]
    with pytest.raises(BadProof, match="parts of it are missing"):
        weigh(json.dumps(told), KEYS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "parts of it are missing"),
        ("[" * 100_000, "parts of it are missing"),
        ("[]", "parts of it are missing"),
        (f'{{"form": "{FORM}", "log": "l", "ours": 5, "theirs": 5}}', "parts of it are missing"),
        (f'{{"form": "{FORM}", "log": "l", "ours": [], "theirs": {{}}}}', "parts of it are missing"),
        (sizes("nonsense", ""), "The checkpoint of the gateway in the evidence is none"),
        (sizes("", "nonsense"), "The checkpoint of the receiver in the evidence is none"),
    ],
)
def test_what_is_no_evidence_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadProof, match=said):
        weigh(text, KEYS)


async def test_a_form_of_the_future_is_named_and_not_guessed() -> None:
    found = await forked()
    with pytest.raises(
        BadProof, match=r"is of the form 'mortdecai-gateway/evidence/v2', which is unknown here\."
    ):
        weigh(changed(found, form="mortdecai-gateway/evidence/v2"), KEYS)
    with pytest.raises(BadProof) as refused:
        weigh(changed(found, form="z" * 500), KEYS)
    assert len(str(refused.value)) < 120
