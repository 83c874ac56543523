"""The overview's lines about the engine's container and the public address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox

from app.desktop.cards.public import PublicDialog
from app.desktop.dialogs import LogDialog
from app.desktop.engine_wording import engine_tone
from app.desktop.pages.overview import OverviewPage
from app.desktop.tasks import FaceTasks
from app.desktop.theme import Tone
from app.engine.host import HostPhase, HostState, Processor
from app.face import Serving, Snapshot
from app.tunnel.state import TunnelPhase, TunnelState
from app.tunnel.words import TunnelError
from tests.desktop.fake_gateway import (
    CRASHED,
    GPU_UNUSED,
    MANAGED,
    PUBLIC,
    PULLING,
    FakeGateway,
    a_request,
    a_snapshot,
    busy,
)
from tests.desktop.playing import OFFSCREEN_NOTE, play, settle, settled, until
from tests.desktop.test_overview import Paints, visible

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)


class Bench:
    """The overview in front of a gateway."""

    def __init__(self) -> None:
        self.face = FakeGateway()
        self.failures: list[str] = []
        self.tasks = FaceTasks(self.failures.append)
        self.page = OverviewPage(self.face, self.tasks)
        self.engine, self.public = self.page.engine, self.page.public
        self.page.resize(720, 480)
        self.page.show()

    def look(self, present: Snapshot) -> None:
        self.face.present = present
        self.page.show_snapshot(present)
        settle()

    def click(self, *buttons: object) -> None:
        async def story() -> None:
            for button in buttons:
                button.click()  # type: ignore[attr-defined]
            await settled(self.tasks)

        play(story)

    def offered(self) -> list[str]:
        return [action.text() for action in self.engine.menu.actions() if action.isEnabled()]


@pytest.fixture
def bench(qapp: QApplication) -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for dialog in (bench.page.dialog, bench.engine.dialog):
        if dialog is not None:
            dialog.close()
    bench.page.hide()
    bench.page.deleteLater()
    QApplication.processEvents()


# The engine


def test_an_engine_that_is_not_ours_takes_no_room(bench: Bench) -> None:
    bench.look(a_snapshot())
    assert not bench.engine.isVisible()
    bench.look(a_snapshot(host=MANAGED))
    assert bench.engine.isVisible()
    bench.look(a_snapshot())
    assert not bench.engine.isVisible()


def test_a_healthy_container_is_one_quiet_line_without_a_button(bench: Bench) -> None:
    bench.look(a_snapshot(host=MANAGED))
    assert bench.engine.line == "Ollama runs in its container · on the GPU · no way out to the network"
    assert not bench.engine.button.isVisible()
    assert not bench.engine.log.isVisible()
    assert not bench.engine.bar.isVisible()
    assert bench.offered() == ["Stop", "Restart", "Update", "Re-create"]


def test_a_download_shows_how_far_it_is(bench: Bench) -> None:
    bench.look(a_snapshot(host=PULLING))
    assert bench.engine.line.startswith("Downloading Ollama: 0.9 of 1.6 GB")
    assert bench.engine.bar.isVisible()
    assert bench.engine.bar.share == pytest.approx(0.5625)
    assert bench.offered() == ["Stop"]


def test_a_failure_says_why_and_offers_log_and_another_try(bench: Bench) -> None:
    bench.look(a_snapshot(host=CRASHED))
    assert bench.engine.trouble == f"{CRASHED.problem} {CRASHED.fix}"
    bench.engine.log.click()
    dialog = bench.engine.dialog
    assert isinstance(dialog, LogDialog)
    assert "CUDA error: out of memory" in dialog.text.toPlainText()
    bench.click(bench.engine.button)
    assert bench.face.calls == [("engine_verb", "start")]


def test_changed_settings_offer_to_re_create(bench: Bench) -> None:
    bench.look(a_snapshot(host=replace(MANAGED, drift=("engine_cpus",))))
    assert bench.engine.trouble == "Settings changed: re-create the container to use them."
    bench.click(bench.engine.button)
    assert bench.face.calls == [("engine_verb", "recreate")]


def test_a_fallback_to_the_processor_is_said_loudly(bench: Bench) -> None:
    host = replace(MANAGED, processor=Processor.FALLBACK)
    bench.look(a_snapshot(serving=Serving.BLOCKED, blocker=GPU_UNUSED, host=host))
    assert bench.engine.line == "Ollama computes on the processor, not on the GPU."
    assert bench.engine.button.text() == "Try again"


def test_what_came_of_a_verb_is_told_until_it_is_no_longer_so(bench: Bench) -> None:
    bench.look(a_snapshot(host=HostState(HostPhase.STOPPED)))
    bench.face.hold_verbs = asyncio.Event()

    async def story() -> None:
        bench.engine.button.click()
        await until(lambda: bool(bench.face.calls))
        bench.face.present = a_snapshot(host=MANAGED)
        assert bench.face.hold_verbs is not None
        bench.face.hold_verbs.set()
        await settled(bench.tasks)

    play(story)
    bench.look(a_snapshot(host=MANAGED))
    assert "Ollama was started." in visible(bench.engine)
    bench.look(
        a_snapshot(host=HostState(HostPhase.STARTING, problem="The container was ended from outside."))
    )
    assert "Ollama was started." not in visible(bench.engine)


def test_what_is_being_seen_to_asks_nobody_to_do_anything(bench: Bench) -> None:
    again = HostState(
        HostPhase.STARTING,
        problem="The engine's container was ended from outside.",
        fix="Read the end of its log, then start the engine again.",
        drift=("engine_image",),
    )
    bench.look(a_snapshot(host=again))
    assert bench.engine.trouble == "The engine's container was ended from outside."
    bench.look(a_snapshot(host=replace(again, problem=None, fix=None)))
    assert bench.engine.trouble == "", "it is being re-created already"


def test_the_download_of_an_update_is_said_beside_its_bar_while_the_engine_runs_on(bench: Bench) -> None:
    bench.look(a_snapshot(host=replace(MANAGED, progress=PULLING.progress, drift=("engine_image",))))
    assert bench.engine.line == "Downloading Ollama: 0.9 of 1.6 GB · 38 MB/s · 20 s left"
    assert bench.engine.bar.isVisible()
    assert bench.engine.trouble == ""
    assert not bench.engine.button.isVisible()


@pytest.mark.parametrize("phase", [HostPhase.ABSENT, HostPhase.STOPPED])
def test_an_engine_that_nobody_needs_is_no_warning(bench: Bench, phase: HostPhase) -> None:
    paused = a_snapshot(serving=Serving.PAUSED, host=HostState(phase))
    bench.look(paused)
    assert bench.engine.line == "Ollama does not run. It starts when you contribute."
    assert engine_tone(paused) is Tone.MUTED
    assert engine_tone(replace(paused, serving=Serving.BLOCKED)) is Tone.WARN


def test_a_verb_that_fails_is_one_sentence_and_can_be_tried_again(bench: Bench) -> None:
    bench.look(a_snapshot(host=HostState(HostPhase.STOPPED)))
    bench.face.verb_error = RuntimeError("Docker is not running. Start Docker Desktop.")
    bench.click(bench.engine.button)
    assert bench.failures == ["The engine could not be started. Docker is not running. Start Docker Desktop."]
    bench.face.verb_error = None
    bench.click(bench.engine.button)
    assert len(bench.face.calls) == 2


def test_a_failure_that_the_container_s_state_tells_is_told_once(bench: Bench) -> None:
    bench.look(a_snapshot(host=CRASHED))
    bench.face.verb_error = RuntimeError(f"{CRASHED.problem} {CRASHED.fix}")
    bench.click(bench.engine.button)
    assert bench.failures == []
    assert CRASHED.problem is not None
    assert bench.engine.trouble.startswith(CRASHED.problem)
    assert bench.engine.button.isEnabled()


def test_a_start_that_downloads_can_be_stopped(bench: Bench) -> None:
    bench.look(a_snapshot(host=HostState(HostPhase.ABSENT)))

    async def story() -> None:
        gate = bench.face.hold_verbs = asyncio.Event()
        bench.engine.button.click()
        bench.look(a_snapshot(host=PULLING))
        assert bench.offered() == ["Stop"]
        bench.engine.menu.actions()[1].trigger()
        assert bench.offered() == []
        await until(lambda: len(bench.face.calls) == 2)
        gate.set()

    play(story)
    assert bench.face.calls == [("engine_verb", "start"), ("engine_verb", "stop")]


def test_while_a_verb_is_under_way_only_stopping_is_offered(bench: Bench) -> None:
    bench.look(a_snapshot(host=HostState(HostPhase.STOPPED)))

    async def story() -> None:
        bench.face.hold_verbs = asyncio.Event()
        bench.engine.button.click()
        bench.look(a_snapshot(host=MANAGED))
        assert bench.offered() == ["Stop"]
        bench.face.hold_verbs.set()
        await settled(bench.tasks)
        assert bench.offered() == ["Stop", "Restart", "Update", "Re-create"]

    play(story)


def test_stopping_while_requests_run_asks_first(bench: Bench) -> None:
    bench.look(busy(a_snapshot(host=MANAGED), a_request(1), a_request(2)))
    stop = bench.engine.menu.actions()[1]
    stop.trigger()
    box = bench.engine.dialog
    assert isinstance(box, QMessageBox)
    assert box.text() == "Stop Ollama?"
    assert "2 requests are running and would end." in box.informativeText()
    assert bench.face.calls == []
    bench.click(next(button for button in box.buttons() if button.text().replace("&", "") == "Stop"))
    assert bench.face.calls == [("engine_verb", "stop")]


def test_stopping_while_nothing_runs_asks_nothing(bench: Bench) -> None:
    bench.look(a_snapshot(host=MANAGED))

    async def story() -> None:
        bench.engine.menu.actions()[1].trigger()
        await settled(bench.tasks)

    play(story)
    assert bench.face.calls == [("engine_verb", "stop")]


def test_a_quiet_second_repaints_nothing(bench: Bench) -> None:
    snapshot = a_snapshot(host=replace(PULLING, problem="Slow."), public=PUBLIC)
    bench.look(snapshot)
    bench.look(snapshot)
    paints = Paints(bench.engine)
    more = Paints(bench.public)
    bench.look(snapshot)
    assert paints.count == more.count == 0


def test_a_long_reason_wraps_instead_of_widening_the_page(bench: Bench) -> None:
    sentence = (
        "The GPU could not be handed to the container, because the toolkit of its maker is missing. " * 3
    )
    blocker = replace(GPU_UNUSED, code="engine_absent", sentence=sentence, ends=sentence)
    host = HostState(HostPhase.FAILED, problem="Another thing. " * 20, fix="Do this. " * 20, log_tail=("x",))
    failed = TunnelState(TunnelPhase.FAILED, problem="Cloudflare does not answer. " * 9)
    bench.look(a_snapshot(serving=Serving.BLOCKED, blocker=blocker, host=host, public=failed))
    for part in (
        bench.page.headline,
        bench.engine,
        bench.public,
        bench.engine.more,
        bench.public.close_button,
    ):
        assert part.mapTo(bench.page, part.rect().topRight()).x() <= 720 - 16
    reason = next(
        label
        for label in bench.page.headline.children()
        if getattr(label, "text", str)().startswith("The GPU")
    )
    assert reason.height() > 3 * reason.fontMetrics().height()


# The public address


def test_without_a_public_address_there_is_only_the_way_to_the_question(bench: Bench) -> None:
    bench.look(a_snapshot())
    assert not bench.public.isVisible()
    assert bench.page.headline.public.isVisible()
    assert bench.page.dialog is None


def test_the_question_says_who_sees_the_traffic_and_what_else_there_is(bench: Bench) -> None:
    bench.look(a_snapshot())
    bench.page.headline.public.click()
    dialog = bench.page.dialog
    assert isinstance(dialog, PublicDialog)
    for words in (
        "Cloudflare sees the traffic",
        "Tailscale",
        "tailscale serve --bg 8434",
        "Caddy",
        "needs a key",
    ):
        assert words in dialog.text
    assert "docs/" not in dialog.text, "whoever installed a package has none"
    assert not dialog.open_button.isDefault()
    assert not dialog.open_button.autoDefault()
    dialog.reject()
    assert bench.face.calls == []
    assert bench.page.dialog is None


@pytest.mark.parametrize("mode", ["quick", "named"])
def test_only_its_own_button_opens_it(bench: Bench, mode: str) -> None:
    bench.look(a_snapshot())
    bench.page.ask_public()
    dialog = bench.page.dialog
    assert dialog is not None
    dialog.ways[mode].click()
    assert bench.face.calls == []
    bench.click(dialog.open_button)
    assert bench.face.calls == [("public_address", mode)]


def test_a_pasted_token_is_kept_before_the_address_opens_and_is_never_shown(bench: Bench) -> None:
    bench.look(a_snapshot())
    bench.page.ask_public()
    dialog = bench.page.dialog
    assert dialog is not None
    QTest.keyClicks(dialog.token, "cloudflared service install eyJ")
    assert dialog.ways["named"].isChecked(), "whoever pastes a token means their own tunnel"
    assert dialog.token.displayText() == "●" * len("cloudflared service install eyJ")
    bench.click(dialog.open_button)
    assert bench.face.calls == [
        ("keep_tunnel_token", "cloudflared service install eyJ"),
        ("public_address", "named"),
    ]
    bench.page.ask_public()
    assert bench.page.dialog is not None
    assert bench.page.dialog.token.text() == ""


def test_a_token_that_is_none_opens_nothing_and_the_question_stays(bench: Bench) -> None:
    bench.look(a_snapshot())
    bench.face.token_error = TunnelError("That is not a tunnel's token. Copy the whole command.")
    bench.page.ask_public()
    dialog = bench.page.dialog
    assert dialog is not None
    QTest.keyClicks(dialog.token, "nonsense")
    bench.click(dialog.open_button)
    assert bench.face.calls == []
    assert dialog.problem.sentence == "That is not a tunnel's token. Copy the whole command."
    settle()
    for label in dialog.findChildren(QLabel):
        assert label.height() >= label.heightForWidth(label.width()), f"cut off: {label.text()}"
    assert dialog.open_button.isEnabled()
    dialog.ways["quick"].click()
    bench.click(dialog.open_button)
    assert bench.face.calls == [("public_address", "quick")], "a token that was typed first is not meant then"


def test_asking_twice_shows_one_question(bench: Bench) -> None:
    bench.page.ask_public()
    first = bench.page.dialog
    bench.page.ask_public()
    assert bench.page.dialog is first


def test_an_open_address_is_shown_copied_and_closed(bench: Bench) -> None:
    bench.look(a_snapshot(public=PUBLIC))
    assert bench.public.line == f"Reachable from the internet: {PUBLIC.url}"
    assert not bench.page.headline.public.isVisible()
    bench.public.copy.click()
    assert QGuiApplication.clipboard().text() == PUBLIC.url
    bench.click(bench.public.close_button)
    assert bench.face.calls == [("public_address", "off")]


def test_an_open_address_that_does_not_answer_says_so_and_what_to_do(bench: Bench) -> None:
    bench.look(
        a_snapshot(public=replace(PUBLIC, problem="It does not answer yet.", fix="Wait a few minutes."))
    )
    assert bench.public.line == f"Reachable from the internet: {PUBLIC.url}"
    assert bench.public.trouble == "It does not answer yet. Wait a few minutes."
    bench.look(a_snapshot(public=PUBLIC))
    assert bench.public.trouble == ""


def test_an_address_on_its_way_can_be_called_off(bench: Bench) -> None:
    bench.look(a_snapshot(public=TunnelState(TunnelPhase.OPENING)))
    assert bench.public.line == "The public address is being opened …"
    assert not bench.public.copy.isVisible()
    bench.click(bench.public.close_button)
    assert bench.face.calls == [("public_address", "off")]


def test_an_address_that_failed_says_why_and_leads_to_the_question_again(bench: Bench) -> None:
    bench.look(
        a_snapshot(
            public=TunnelState(TunnelPhase.FAILED, problem="The token was refused.", fix="Copy it again.")
        )
    )
    assert bench.public.line == "The token was refused. Copy it again."
    bench.public.again.click()
    assert bench.page.dialog is not None
    assert bench.face.calls == []


def test_what_cannot_be_opened_is_one_sentence(bench: Bench) -> None:
    bench.face.public_error = RuntimeError("The keyring holds no token for the tunnel. Set one first.")
    bench.look(a_snapshot())
    bench.page.ask_public()
    dialog = bench.page.dialog
    assert dialog is not None
    bench.click(dialog.open_button)
    assert bench.failures == [
        "The public address could not be opened. The keyring holds no token for the tunnel. Set one first."
    ]
