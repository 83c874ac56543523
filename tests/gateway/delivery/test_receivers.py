"""A client's own receiver, the real one: enrolled with one line, it gets the log, cosigns it, and both sides agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.face import ReceiptState, ReceiptsView
from app.ledger.cosignature import CosignerKey, find_cosignature
from app.ledger.invitation import Invitation
from tests.gateway.conftest import Build, House
from tests.gateway.delivery.conftest import until
from tests.gateway.delivery.test_callback import ask, receipts, reconciled
from tests.receiver.asking import Asked, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The client's side."""
    return Desk(tmp_path / "client")


async def invite(asked: Asked, name: str = "garage") -> Invitation:
    """What `receiver enrol` prints."""
    return Invitation(asked.url, await asked.enrol(name), asked.receiver.identity.cosigner.vkey)


async def enrolled(house: House, line: str, client: str = "First client") -> dict[str, Any]:
    body = {"client": client, "line": line}
    async with house.post("/admin/receivers", body, key=house.operator) as reply:
        said: dict[str, Any] = await reply.json()
        return {"status": reply.status, **said}


async def test_one_line_makes_a_receiver_a_witness_of_every_record(build: Build, desk: Desk) -> None:
    house = await build(private_receivers=True)
    await ask(house, 2)
    async with desk.open() as asked:
        invitation = await invite(asked)
        said = await enrolled(house, invitation.line)
        assert (said["status"], said["client"], said["key"]) == (200, "First client", invitation.vkey)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        await ask(house, 3)
        await until(
            lambda: (
                receipts(house).acked == receipts(house).size == 8
                or receipts(house).acked == receipts(house).size
            )
        )
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        ours = await reconciled(house)
        assert (ours["status"], ours["findings"]) == ("OK", [])
        (peer,) = ours["peer"]
        text, lines = peer["checkpoint"].rsplit("\n\n", 1)
        found = find_cosignature(text + "\n\n" + lines, lines, CosignerKey.parse(invitation.vkey))
        assert found.checkpoint.size == peer["size"] == ours["ledger_entries"]
        assert found.checkpoint.root.hex() == ours["merkle"][0]["root"]
        theirs = (await asked.get("/reconcile", invitation.secret)).json
        assert theirs["ledger_total_cost_pico"] == ours["ledger_total_cost_pico"]
        assert theirs["status"] == "OK"
        log = ours["merkle"][0]["log"]
        leaves = (await asked.get(f"/ledger/entries?log={log}&from=0", invitation.secret)).text
        assert tuple(leaves.encode().splitlines()) == await house.gateway.ledger.entries(log, 0, 100)


async def test_a_receiver_that_is_away_gets_everything_once_it_is_back(build: Build, desk: Desk) -> None:
    house = await build(private_receivers=True)
    async with desk.open() as asked:
        invitation = await invite(asked)
        await enrolled(house, invitation.line)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
    await ask(house, 3)
    await until(lambda: receipts(house).next_us)
    assert "cannot be reached" in receipts(house).sentence
    assert receipts(house).unacked_pico > 0
    async with desk.open(port=int(asked.url.rpartition(":")[2])) as asked:
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED, 15)
        theirs = (await asked.get("/reconcile", invitation.secret)).json
        assert theirs["ledger_total_cost_pico"] == (await reconciled(house))["ledger_total_cost_pico"]


async def test_each_client_has_a_receiver_of_its_own_and_hears_of_no_other(build: Build, desk: Desk) -> None:
    house = await build(private_receivers=True)
    async with house.post("/admin/keys", {"label": "b", "client": "Bert"}, key=house.operator) as reply:
        key = (await reply.json())["key"]

    def views() -> tuple[ReceiptsView, ...]:
        return house.gateway.snapshot().receipts

    async with desk.open() as asked:
        await enrolled(house, (await invite(asked, "a")).line)
        await enrolled(house, (await invite(asked, "b")).line, "Bert")
        await until(
            lambda: all(view.state is ReceiptState.ACKNOWLEDGED for view in house.gateway.snapshot().receipts)
        )
        assert len(views()) == 2
        (own,) = (await reconciled(house, key))["receipts"]
        assert own["log"] == house.gateway.ledger.clients()[1].log
        async with house.get("/admin/receivers", key=house.operator) as reply:
            told = (await reply.json())["receivers"]
        assert [one["client"] for one in told] == ["First client", "Bert"]
        assert "mr_" not in str(told)


async def test_without_the_setting_no_receiver_in_this_network_is_enrolled(build: Build, desk: Desk) -> None:
    house = await build()
    async with desk.open() as asked:
        said = await enrolled(house, (await invite(asked)).line)
    assert said["status"] == 400
    assert "private_receivers" in said["error"]
    assert house.gateway.snapshot().receipts == ()


async def test_a_receiver_is_withdrawn_and_its_secret_forgotten(build: Build, desk: Desk) -> None:
    house = await build(private_receivers=True)
    async with desk.open() as asked:
        await enrolled(house, (await invite(asked)).line)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        async with house.session.delete(
            "/admin/receivers",
            json={"client": "First client"},
            headers={"Authorization": f"Bearer {house.operator}"},
        ) as reply:
            assert reply.status == 200
        assert house.gateway.snapshot().receipts == ()
        assert await house.gateway.ledger.deliveries() == ()
        async with house.session.delete(
            "/admin/receivers",
            json={"client": "First client"},
            headers={"Authorization": f"Bearer {house.operator}"},
        ) as reply:
            assert reply.status == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"client": "Nobody", "line": "x"}, 404, "no client 'Nobody'"),
        ({"client": "First client"}, 400, "must be what `receiver enrol` printed"),
        ({"client": "First client", "line": "http://h#mr_x"}, 400, "must begin with mortdecai-receiver:"),
        ({"client": ["First client"], "line": "x"}, 404, "no client"),
    ],
)
async def test_what_is_no_enrolment_is_said(house: House, body: Any, status: int, words: str) -> None:
    async with house.post("/admin/receivers", body, key=house.operator) as reply:
        assert reply.status == status
        assert words in (await reply.json())["error"]


async def test_clients_may_not_say_who_gets_the_ledger(house: House) -> None:
    for method in ("GET", "POST", "DELETE"):
        async with house.session.request(
            method, "/admin/receivers", json={}, headers={"Authorization": f"Bearer {house.key}"}
        ) as reply:
            assert reply.status == 403
