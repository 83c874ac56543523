"""The models page: what is here, what could be, and what can be done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QMessageBox, QWidget

from app.desktop.pages.model_dialogs import DetailsDialog, model_facts
from app.engine.host import HostPhase, HostState
from app.models.base import Doing, ModelError
from tests.desktop.fake_gateway import a_snapshot
from tests.desktop.fake_models import (
    OFFERS,
    SOME,
    an_entry,
)
from tests.desktop.models_bench import Bench, a_bench
from tests.desktop.playing import OFFSCREEN_NOTE, settled
from tests.desktop.test_overview import visible

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)


@pytest.fixture
def bench(qapp: QApplication) -> Iterator[Bench]:
    with a_bench() as bench:
        yield bench


# What is there


def test_models_here_come_with_size_fit_and_memory_and_the_catalogue_s_follow(bench: Bench) -> None:
    bench.open()
    assert bench.page.list.here.names == tuple(entry.name for entry in SOME)
    assert bench.page.list.catalogue.names == tuple(entry.name for entry in OFFERS)
    read = visible(bench.page.list.here)
    assert "3 models, 14.3 GB of the disk" in read
    assert "llama3.1:8b | 8.0B · Q4_K_M | 4.9 GB | Fits | 6.1 GB loaded" in read
    assert "Needs about 6.0 GB of the GPU's 24.0 GB." in read
    assert "A strong all-rounder that reads pictures; for cards with 24 GB." in visible(
        bench.page.list.catalogue
    )


def test_what_can_be_done_is_on_the_button(bench: Bench) -> None:
    bench.open()
    verbs = {name: bench.row(name).button.text() for name in ("llama3.1:8b", "qwen2.5:3b", "qwen3:0.6b")}
    assert verbs == {"llama3.1:8b": "Unload", "qwen2.5:3b": "Load", "qwen3:0.6b": "Get"}
    assert bench.row("qwen3:0.6b").button.accessibleName() == "Get qwen3:0.6b"
    assert bench.row("qwen3:0.6b").more.isHidden(), "nothing to delete of what is not here"


def test_a_model_that_does_not_fit_is_dimmed_and_can_still_be_had(bench: Bench) -> None:
    bench.open()
    plain = bench.row("qwen3:0.6b").findChildren(QWidget)[0].palette().windowText().color()
    dimmed = bench.row("llama3.3:70b").findChildren(QWidget)[0].palette().windowText().color()
    assert dimmed != plain
    assert bench.row("llama3.3:70b").button.isEnabled()


def test_without_models_the_page_says_how_to_get_one(bench: Bench) -> None:
    bench.models.present = OFFERS
    bench.open()
    assert "No models yet. Choose one below, or type the name of one." in visible(bench.page)


def test_an_engine_that_manages_its_models_itself_has_a_list_and_no_buttons(bench: Bench) -> None:
    engine = replace(a_snapshot().engine, name="llama-server", native=False)
    bench.open(a_snapshot(engine=engine))
    read = visible(bench.page)
    assert "llama-server manages its models itself." in read
    assert "llama3.1:8b" in read
    assert "To choose from" not in read
    assert not any(button.isVisible() for button in bench.page.findChildren(QAbstractButton))


AWAY = replace(a_snapshot().engine, reachable=False, version=None, models=(), loaded=())


def test_without_an_engine_the_reason_and_its_next_step_stand_there(bench: Bench) -> None:
    bench.models.present = OFFERS
    bench.open(a_snapshot(engine=AWAY))
    assert "Ollama does not answer at http://127.0.0.1:11434. Start it" in visible(bench.page)
    assert not bench.page.list.start.isVisible(), "it is not ours to start"
    assert not bench.row("qwen3:0.6b").button.isEnabled()
    assert not bench.page.update_button.isEnabled()


def test_a_stopped_engine_of_ours_is_started_from_here_once(bench: Bench) -> None:
    bench.models.present = ()
    bench.open(a_snapshot(engine=AWAY, host=HostState(HostPhase.STOPPED)))

    async def story() -> None:
        bench.face.hold_verbs = asyncio.Event()
        bench.page.list.start.click()
        bench.page.list.start.click()
        bench.look()
        assert not bench.page.list.start.isVisible()
        bench.face.hold_verbs.set()

    bench.play(story)
    assert bench.face.calls == [("engine_verb", "start")]


# Doing


def test_get_pulls_unload_unloads_and_load_loads(bench: Bench) -> None:
    bench.open()

    async def story() -> None:
        bench.row("qwen3:0.6b").button.click()
        bench.row("llama3.1:8b").button.click()
        bench.row("qwen2.5:3b").button.click()

    bench.play(story)
    assert sorted(bench.face.calls) == [
        ("load", "qwen2.5:3b"),
        ("pull", "qwen3:0.6b"),
        ("unload", "llama3.1:8b"),
    ]


def test_a_name_is_typed_and_pulled_with_enter_or_the_button(bench: Bench, qtbot) -> None:
    bench.open()
    assert not bench.page.get.isEnabled()
    qtbot.keyClicks(bench.page.name, "  smollm:135m ")
    assert bench.page.get.isEnabled()
    qtbot.keyClick(bench.page.name, Qt.Key.Key_Return)
    assert bench.face.calls == [("pull", "smollm:135m")]
    assert bench.page.name.text() == ""
    qtbot.keyClicks(bench.page.name, "phi4:14b")
    bench.page.get.click()
    assert bench.face.calls[1:] == [("pull", "phi4:14b")]


def test_a_name_that_is_refused_is_said_in_one_sentence_and_stays_to_be_mended(bench: Bench, qtbot) -> None:
    bench.open()
    bench.models.error = ModelError("“nonsense” is not in Ollama's library. Check how it is spelt.")
    bench.page.name.setText("nonsense")
    qtbot.keyClick(bench.page.name, Qt.Key.Key_Return)
    assert bench.said == "“nonsense” is not in Ollama's library. Check how it is spelt."
    assert bench.page.name.text() == "nonsense"
    bench.models.error = None
    qtbot.keyClick(bench.page.name, Qt.Key.Key_Return)
    assert bench.said == "", "the next thing that works takes the sentence away"


def test_a_refusal_that_comes_late_is_said_on_the_page_too(bench: Bench) -> None:
    bench.open()
    bench.models.error = ModelError("llama3.1:8b is answering. Wait until it has ended.")

    async def story() -> None:
        bench.row("llama3.1:8b").button.click()

    bench.play(story)
    assert bench.said == "llama3.1:8b is answering. Wait until it has ended."
    assert bench.failures == []


def test_deleting_asks_once_and_only_delete_deletes(bench: Bench) -> None:
    bench.open()

    async def story() -> None:
        bench.choose("llama3.1:8b", "Delete…")
        box = bench.page.dialog
        assert isinstance(box, QMessageBox)
        assert box.text() == "Delete llama3.1:8b?"
        assert box.informativeText() == "It takes 4.9 GB of the disk and can be pulled again."
        assert box.defaultButton().text().replace("&", "") == "Cancel"
        bench.answer("Cancel")
        await settled(bench.tasks)
        assert bench.face.calls == []
        bench.choose("llama3.1:8b", "Delete…")
        bench.answer("Delete")
        await settled(bench.tasks)
        assert bench.face.calls == [("delete", "llama3.1:8b")]
        assert "llama3.1:8b" not in bench.page.list.here.names, "shown at once, not a second later"

    bench.play(story)
    assert bench.page.dialog is None


def test_the_menu_also_gets_the_newest_version(bench: Bench) -> None:
    bench.open()
    bench.choose("llama3.1:8b", "Get the newest version")
    assert bench.face.calls == [("pull", "llama3.1:8b")]


@pytest.mark.qt_log_ignore("This plugin does not support grabbing the keyboard")
def test_the_menu_opens_where_it_was_asked_for(bench: Bench) -> None:
    bench.open()
    asked: list[object] = []
    bench.row("llama3.1:8b").wanted.connect(asked.append)
    bench.row("llama3.1:8b").more.click()
    assert len(asked) == 1
    popup = QApplication.activePopupWidget()
    assert popup is not None
    popup.close()


# Details


def test_details_are_facts_and_texts(bench: Bench) -> None:
    bench.open()
    bench.models.told = {
        "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
        "capabilities": ["completion", "tools"],
        "license": "A licence",
    }

    async def story() -> None:
        bench.choose("llama3.1:8b", "Show details")
        await settled(bench.tasks)

    bench.play(story)
    dialog = bench.page.dialog
    assert isinstance(dialog, DetailsDialog)
    assert dialog.isVisible()
    assert dialog.facts["On the disk"] == "4.9 GB"
    assert dialog.facts["Context at most"] == "131,072 tokens"
    assert dialog.facts["Abilities"] == "completion, tools"
    assert dialog.facts["Digest"] == "46e0c10c039e"


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"details": None, "model_info": "nothing", "capabilities": 3},
        {"details": [], "model_info": {"x.context_length": "many"}, "license": None},
    ],
)
def test_whatever_an_engine_tells_the_facts_stand(told: dict[str, object]) -> None:
    facts = dict(model_facts(an_entry(), told))
    assert facts["Family"] == "llama"
    assert "Context at most" not in facts


def test_details_that_come_when_nobody_looks_any_more_open_nothing(bench: Bench) -> None:
    bench.open()

    async def story() -> None:
        bench.choose("llama3.1:8b", "Show details")
        bench.page.vanish()
        bench.page.hide()
        await settled(bench.tasks)

    bench.play(story)
    assert bench.page.dialog is None


# A new version from a web address


def test_an_update_needs_an_address_and_a_name_and_takes_a_checksum(bench: Bench) -> None:
    bench.open()
    dialog = bench.updating()
    assert not dialog.get.isEnabled()
    dialog.address.setText(" https://example.org/model.gguf ")
    assert not dialog.get.isEnabled()
    dialog.name.setText("mortdecai:0.6.0")
    dialog.sha256.setText("sha256:" + "AB" * 32)
    dialog.get.click()
    assert bench.face.calls == [("update", "mortdecai:0.6.0", "https://example.org/model.gguf", "ab" * 32)]
    assert bench.page.dialog is None
    assert bench.work("mortdecai:0.6.0", Doing.UPDATE).isVisible()


def test_a_checksum_that_is_none_is_refused_before_anybody_is_asked(bench: Bench) -> None:
    bench.open()
    dialog = bench.updating()
    dialog.address.setText("https://example.org/model.gguf")
    dialog.name.setText("mortdecai:0.6.0")
    dialog.sha256.setText("ab" * 31)
    dialog.get.click()
    assert bench.face.calls == []
    assert dialog.isVisible()
    assert dialog.problem.sentence.startswith("That is no SHA-256")


def test_an_update_that_is_refused_stays_open_with_what_was_typed(bench: Bench) -> None:
    bench.open()
    bench.models.error = ModelError(
        "Models may not come from example.org. Choose another host, or allow this one."
    )
    dialog = bench.updating()
    dialog.address.setText("https://example.org/model.gguf")
    dialog.name.setText("mortdecai:0.6.0")
    dialog.get.click()
    assert dialog.isVisible()
    assert "may not come from example.org" in dialog.problem.sentence
    assert dialog.address.text() == "https://example.org/model.gguf"
