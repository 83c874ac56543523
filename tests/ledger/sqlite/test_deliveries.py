"""How far each delivery is, kept beside the records and signed by nobody: losing it loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from app.ledger.delivery import DeliveryRow, DeliveryTrouble, DeliveryWay, Standing
from tests.ledger.sqlite.conftest import Opening

ROW = DeliveryRow(
    "g/c", DeliveryWay.LEDGER, "https://client.example", "receiver+01234567+AA==",
    Standing(7, 5, 6, 2, 9, DeliveryTrouble.DISPUTED, "It is down.", "note\n\n— x y\n"),
)  # fmt: skip
OTHER = DeliveryRow("g/c", DeliveryWay.SEED, "", "", Standing())


async def test_what_is_kept_is_there_after_a_restart_and_what_is_forgotten_is_not(
    opening: Opening,
) -> None:
    ledger = await opening()
    assert await ledger.deliveries() == ()
    ledger.keep_delivery(replace(ROW, url="https://old.example"))
    ledger.keep_delivery(OTHER)
    await ledger.keep_delivery(ROW)
    assert await ledger.deliveries() == (ROW, OTHER)
    await ledger.close()
    ledger = await opening()
    assert await ledger.deliveries() == (ROW, OTHER)
    await ledger.forget_delivery("g/c", DeliveryWay.SEED)
    await ledger.forget_delivery("g/unknown", DeliveryWay.SEED)
    assert await ledger.deliveries() == (ROW,)


async def test_it_is_on_the_disk_when_the_ledger_is_closed(opening: Opening) -> None:
    ledger = await opening()
    ledger.keep_delivery(ROW)
    await ledger.close()
    assert await (await opening()).deliveries() == (ROW,)


@pytest.mark.parametrize(
    "damage",
    ["way = 'pigeon'", "trouble = 'none'", "acked = -1", "url = CAST(x'ff' AS TEXT)"],
)
async def test_a_damaged_row_is_as_if_there_were_none(
    opening: Opening, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = await opening()
    await ledger.keep_delivery(ROW)
    await ledger.keep_delivery(OTHER)
    path = Path(ledger._path)
    await ledger.close()
    connection = apsw.Connection(str(path))
    connection.execute(f"UPDATE delivery SET {damage} WHERE way = 'ledger'")
    connection.close()
    ledger = await opening()
    assert await ledger.deliveries() == (OTHER,)
    assert "the receiver is asked anew" in caplog.text
    assert (await ledger.verify()).verdict == "OK"
