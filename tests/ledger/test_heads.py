"""What the head of a log keeps besides its tree."""

from __future__ import annotations

import dataclasses

from app.ledger.drafts import TariffDraft
from app.ledger.heads import terms_of
from app.ledger.records import uuid7


def draft_of_terms() -> TariffDraft:
    """Terms with a figure of its own in every field that is not the record's id or time."""
    fields = dataclasses.fields(TariffDraft)[2:]
    values = {field.name: f"term {number}" for number, field in enumerate(fields)}
    return TariffDraft(uuid7(1, 1), 1, **values)  # type: ignore[arg-type]


def test_the_same_terms_at_another_time_in_another_record_are_the_same_terms() -> None:
    terms = draft_of_terms()
    assert terms_of(dataclasses.replace(terms, id=uuid7(2, 2))) == terms_of(terms)
    assert terms_of(dataclasses.replace(terms, t0=2)) == terms_of(terms)


def test_other_terms_are_others_whichever_field_says_so() -> None:
    terms = draft_of_terms()
    for field in dataclasses.fields(TariffDraft)[2:]:
        assert terms_of(dataclasses.replace(terms, **{field.name: "other"})) != terms_of(terms)
