"""QtLoop and the world outside: threads, signals, sockets, processes, and what happens when something fails.

Every test runs on the loop of this platform and on the one for Windows, which here stands over qasync's unix loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import socket
import sys
import threading
import time
import weakref
from typing import Any

import pytest
from aiohttp import ClientSession, web

from app.desktop.loop_windows import QtLoop as WindowsLoop
from tests.desktop.looping import play, turns_while_idle

# --- threads and signals


def test_another_thread_wakes_an_idle_loop(loop: Any) -> None:
    async def story() -> str:
        answer: asyncio.Future[str] = loop.create_future()
        thread = threading.Timer(0.1, lambda: loop.call_soon_threadsafe(answer.set_result, "awake"))
        thread.start()
        return await answer

    assert play(loop, story) == "awake"


def test_calls_from_many_threads_all_arrive_each_thread_in_its_order(loop: Any) -> None:
    seen: dict[int, list[int]] = {n: [] for n in range(8)}
    arrived = 0

    def note(thread: int, number: int) -> None:
        nonlocal arrived
        assert threading.current_thread() is threading.main_thread()
        seen[thread].append(number)
        arrived += 1
        if arrived == 8 * 500:
            loop.stop()

    def call(thread: int) -> None:
        for number in range(500):
            loop.call_soon_threadsafe(note, thread, number)

    threads = [threading.Thread(target=call, args=(n,)) for n in seen]
    for thread in threads:
        thread.start()
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert all(numbers == list(range(500)) for numbers in seen.values())


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no SIGUSR1")
def test_a_signal_wakes_an_idle_loop_and_is_given_back_afterwards(loop: Any) -> None:
    before = signal.getsignal(signal.SIGUSR1)

    async def story() -> str:
        answer: asyncio.Future[str] = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, answer.set_result, "signalled")
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        return await answer

    assert play(loop, story) == "signalled"
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.getsignal(signal.SIGUSR1) == before
    assert turns_while_idle(loop) == 0


def test_the_timer_that_lets_windows_see_signals_runs_only_while_one_is_waited_for(qapp: Any) -> None:
    loop = WindowsLoop(qapp)
    assert not loop._wake_timer.isActive()
    loop.add_signal_handler(signal.SIGINT, print)
    loop.add_signal_handler(signal.SIGTERM, print)
    loop.remove_signal_handler(signal.SIGINT)
    assert loop._wake_timer.isActive()
    loop.close()
    assert not loop._wake_timer.isActive()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_context_variables_travel_with_every_kind_of_callback(loop: Any) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="none")
    seen: dict[str, str] = {}

    async def story() -> None:
        var.set("soon")
        loop.call_soon(lambda: seen.update(soon=var.get()))
        var.set("later")
        loop.call_later(0.001, lambda: seen.update(later=var.get()))
        var.set("threadsafe")
        loop.call_soon_threadsafe(lambda: seen.update(threadsafe=var.get()))
        given = contextvars.copy_context()
        given.run(var.set, "given")
        loop.call_soon(lambda: seen.update(given=var.get()), context=given)
        loop.call_at(loop.time(), lambda: seen.update(at=var.get()), context=given)
        loop.call_soon_threadsafe(lambda: seen.update(threadsafe_given=var.get()), context=given)
        var.set("task")
        await asyncio.sleep(0.01)
        seen["task"] = var.get()

    play(loop, story)
    assert seen == {
        "soon": "soon", "later": "later", "threadsafe": "threadsafe", "given": "given", "at": "given",
        "threadsafe_given": "given", "task": "task",
    }  # fmt: skip


# --- the world outside


def test_sockets_and_streams_carry_a_megabyte_both_ways(loop: Any) -> None:
    blob = os.urandom(1 << 20)

    async def story() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(len(blob)))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(blob)
        assert await reader.read(-1) == blob
        writer.close()
        await writer.wait_closed()

        with socket.socket() as raw:
            raw.setblocking(False)
            await loop.sock_connect(raw, (host, port))
            sending = asyncio.create_task(loop.sock_sendall(raw, blob))
            received = bytearray()
            while chunk := await loop.sock_recv(raw, 65536):
                received += chunk
            await sending
            assert bytes(received) == blob
        server.close()
        await server.wait_closed()

    play(loop, story)


def test_an_aiohttp_client_and_server_share_the_loop(loop: Any) -> None:
    async def story() -> list[str]:
        async def greet(request: web.Request) -> web.Response:
            return web.Response(text=f"hello {await request.text()}")

        application = web.Application()
        application.router.add_post("/", greet)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"

        async def ask(session: ClientSession, name: str) -> str:
            async with session.post(url, data=name) as reply:
                return await reply.text()

        async with ClientSession() as session:
            answers = await asyncio.gather(*(ask(session, str(n)) for n in range(100)))
        await runner.cleanup()
        return answers

    assert play(loop, story) == [f"hello {n}" for n in range(100)]


def test_a_subprocess_is_fed_read_and_waited_for(loop: Any) -> None:
    async def story() -> tuple[bytes, int | None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import sys; print(sys.stdin.read().upper(), end=''); sys.exit(7)",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate(b"quiet")
        return out, process.returncode

    assert play(loop, story) == (b"QUIET", 7)


# --- errors


def test_an_exception_in_a_callback_is_logged_and_the_loop_goes_on(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_soon(lambda: 1 / 0)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_a_handler_of_our_own_is_given_the_exception(loop: Any) -> None:
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_system_exit_and_its_like_leave_run_forever(loop: Any, leaving: type[BaseException]) -> None:
    def leave() -> None:
        raise leaving("now")

    loop.call_soon(leave)
    with pytest.raises(leaving, match="now"):
        loop.run_forever()


def test_debug_mode_names_slow_callbacks_and_refuses_misuse(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def coroutine() -> None:
        """Never run."""

    async def story() -> None:
        loop.slow_callback_duration = 0.01
        loop.call_soon(time.sleep, 0.02)
        await asyncio.sleep(0)
        with pytest.raises(TypeError):
            loop.call_soon(coroutine)
        with pytest.raises(RuntimeError):
            await loop.run_in_executor(None, loop.call_soon, print)

    loop.set_debug(True)
    assert loop.get_debug()
    play(loop, story)
    assert any("sleep" in record.message and "seconds" in record.message for record in caplog.records)


def test_a_closed_loop_refuses_work_and_leaves_nothing_in_memory(loop: Any, qapp: Any) -> None:
    another = type(loop)(qapp)
    another.run_until_complete(asyncio.sleep(0))
    another.close()
    another.close()
    with pytest.raises(RuntimeError, match="closed"):
        another.call_soon(print)
    with pytest.raises(RuntimeError, match="closed"):
        another.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        another.run_forever()
    gone = weakref.ref(another)
    del another
    gc.collect()
    assert gone() is None


def test_a_running_loop_cannot_be_closed_or_run_again(loop: Any) -> None:
    async def story() -> None:
        with pytest.raises(RuntimeError):
            loop.close()
        with pytest.raises(RuntimeError):
            loop.run_forever()

    play(loop, story)
