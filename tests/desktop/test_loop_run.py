"""`run()`: whoever ends first, main, Qt or a signal, the end is the same, and nothing can hold it up for ever."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from app.desktop import loop as loop_module
from app.desktop.loop import run


def test_the_result_of_main_is_handed_back(qapp: QApplication) -> None:
    async def main() -> int:
        await asyncio.sleep(0)
        return 42

    assert run(main, qapp) == 42


def test_an_exception_of_main_is_raised(qapp: QApplication) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise LookupError("nowhere")

    with pytest.raises(LookupError, match="nowhere"):
        run(main, qapp)


def test_a_main_that_cancels_itself_raises_as_under_asyncio_run(qapp: QApplication) -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(main, qapp)


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_system_exit_and_its_like_leave_after_the_winding_down(
    qapp: QApplication, leaving: type[BaseException]
) -> None:
    seen: list[str] = []

    async def other() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("other task")

    async def main() -> None:
        try:
            task = asyncio.create_task(other())
            asyncio.get_running_loop().call_later(0.01, leave)
            await task
        finally:
            await asyncio.sleep(0.01)
            seen.append("main")

    def leave() -> None:
        raise leaving(5)

    with pytest.raises(leaving):
        run(main, qapp)
    assert sorted(seen) == ["main", "other task"]


# --- Qt quits first


def test_where_qt_quits_first_main_is_cancelled_and_its_finally_runs(qapp: QApplication) -> None:
    seen: list[str] = []

    async def main() -> None:
        QTimer.singleShot(10, qapp.quit)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0.02)  # a ledger to settle, say
            seen.append("settled")

    assert run(main, qapp) is None
    assert seen == ["cancelled", "settled"]


def test_a_main_that_answers_qts_quitting_with_a_result_has_it_handed_back(qapp: QApplication) -> None:
    async def main() -> str:
        QTimer.singleShot(10, qapp.quit)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "in order"
        return "never"

    assert run(main, qapp) == "in order"


def test_the_last_window_closed_ends_main_in_order(qapp: QApplication) -> None:
    seen: list[str] = []

    async def main() -> None:
        window = QWidget()
        window.show()
        asyncio.get_running_loop().call_later(0.02, window.close)
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("settled")

    before = qapp.quitOnLastWindowClosed()
    qapp.setQuitOnLastWindowClosed(True)
    try:
        assert run(main, qapp) is None
    finally:
        qapp.setQuitOnLastWindowClosed(before)
    assert seen == ["settled"]


def test_quitting_again_while_main_settles_disturbs_nothing(qapp: QApplication) -> None:
    seen: list[str] = []

    async def main() -> None:
        QTimer.singleShot(5, qapp.quit)
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(3):
                qapp.quit()
                await asyncio.sleep(0.005)
            seen.append("settled")

    assert run(main, qapp) is None
    assert seen == ["settled"]


def test_qt_quitting_while_a_dialog_is_open_ends_the_dialog_and_main(qapp: QApplication) -> None:
    seen: list[str] = []

    async def main() -> None:
        QTimer.singleShot(20, qapp.quit)
        try:
            QDialog().exec()
            seen.append("dialog ended")
            await asyncio.sleep(60)
        finally:
            seen.append("settled")

    assert run(main, qapp) is None
    assert seen == ["dialog ended", "settled"]


# --- winding down


def test_remaining_tasks_and_generators_are_closed(
    qapp: QApplication, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def other(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(f"task {number}")
            if number == 2:
                raise LookupError("on the way out")

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append("generator")

    async def main() -> None:
        tasks = [asyncio.create_task(other(n)) for n in range(3)]
        kept.append(generate())
        await anext(kept[0])
        await asyncio.sleep(0)
        kept.extend(tasks)

    kept: list[Any] = []
    run(main, qapp)
    assert sorted(seen) == ["generator", "task 0", "task 1", "task 2"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]


def test_a_task_that_will_not_be_cancelled_is_left_behind_after_a_while(
    qapp: QApplication, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "LEAVE_S", 0.05)
    give_in: list[asyncio.Task[None]] = []

    async def stubborn() -> None:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def main() -> None:
        give_in.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)

    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        run(main, qapp)
    assert time.monotonic() - start < 5
    assert "stubborn" in caplog.text
    give_in[0]._log_destroy_pending = False  # type: ignore[attr-defined]  # that it was left is what we wanted
    give_in[0].get_coro().close()


def test_sigint_is_ours_while_running_and_given_back(qapp: QApplication) -> None:
    before = signal.getsignal(signal.SIGINT)

    async def main() -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run(main, qapp)
    assert signal.getsignal(signal.SIGINT) is before


# --- whole programs


def program(source: str) -> subprocess.Popen[str]:
    """A program of its own, with warnings as errors."""
    head = """
        import asyncio, signal, sys, threading, time
        from PySide6.QtCore import QTimer
        from PySide6.QtWidgets import QApplication
        from app.desktop.loop import run
        app = QApplication([])
        app.setQuitOnLastWindowClosed(False)
    """
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-c", textwrap.dedent(head) + textwrap.dedent(source)],
        env={**os.environ, "PYTHONPATH": root, "QT_QPA_PLATFORM": "offscreen"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_hung_blocking_call_does_not_hold_up_the_exit() -> None:
    source = """
        async def main():
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
            await asyncio.sleep(0.05)
            print("main ended", flush=True)
        run(main, app)
        print("run ended", flush=True)
    """
    with program(source) as process:
        out, err = process.communicate(timeout=30)
    assert out.split("\n") == ["main ended", "run ended", ""]
    assert process.returncode == 0
    assert "left behind" in err


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_main_asked_for_ends_an_idle_program_in_order(number: signal.Signals) -> None:
    source = """
        async def main():
            over = asyncio.Event()
            for sig in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(sig, over.set)
            print("ready", flush=True)
            await over.wait()
            print("settled", flush=True)
            return 3
        sys.exit(run(main, app))
    """
    with program(source) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("settled\n", "", 3)


@pytest.mark.skipif(sys.platform == "win32", reason="platform: Ctrl-C is no signal there")
def test_ctrl_c_cancels_main_once_and_a_second_one_its_settling() -> None:
    source = """
        async def main():
            try:
                print("ready", flush=True)
                await asyncio.sleep(60)
            finally:
                print("settling", flush=True)
                await asyncio.sleep(60)
        try:
            run(main, app)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    with program(source) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "settling\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
