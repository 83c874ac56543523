"""Look at the faces with a designer's eye, without a gateway behind them.

python tests/desktop/look.py                             # window and tray, lively
python tests/desktop/look.py --dark --state paused --size 720x520 --shot out.png
python tests/desktop/look.py --measure 20                # RSS and CPU: tray alone, window open, window closed
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication

from app.desktop.icons import app_icon
from app.desktop.loop import run
from app.desktop.tray import Tray
from app.desktop.wording import APP_NAME
from app.engine.host import HostPhase, HostState, Processor, Progress
from app.face import EngineView, ReceiptState, RunningRequest, Serving, Snapshot
from app.models.base import Doing, ModelError, Outcome
from app.power.history import PowerPoint
from app.tunnel.state import TunnelPhase, TunnelState
from tests.desktop import fake_gateway as fake
from tests.desktop import fake_models

STATES = (
    "busy", "idle", "paused", "snoozed", "finishing", "cap", "down", "starting", "empty", "loading",
    "simulation", "notice", "crowd", "error",
    "managed", "pulling", "crashed", "fallback", "drift", "docker", "public", "public-failed",
    "no-models", "work", "no-engine", "other-engine", "stopped",
    "receipts", "waiting", "overdue", "disputed",
)  # fmt: skip


class LivelyGateway(fake.FakeGateway):
    """Three requests that never end, on this machine's clock."""

    def __init__(self, state: str) -> None:
        super().__init__(records=0 if state == "empty" else 1_000_000)
        self.state = state
        self.began = time.time()
        now_us = round(self.began * 1e6)
        self.week = fake.a_week(now_us)
        self.graph = self._series
        if state == "loading":
            self.hold_pages = asyncio.Event()
        self.models.told = {
            "details": {"family": "llama"},
            "parameters": 'stop "<|start_header_id|>"\nstop "<|end_header_id|>"\nnum_ctx 4096',
            "template": "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}{{ end }}",
            "license": "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n" + "Grant of rights and so on. " * 60,
            "model_info": {"llama.context_length": 131072},
            "capabilities": ["completion", "tools"],
        }
        self._furnish()
        self.quiet = state in ("empty", "starting", "loading")

    def _furnish(self) -> None:
        models = self.models
        match self.state:
            case "no-models":
                models.present = fake_models.OFFERS
            case "no-engine" | "stopped" | "docker":
                models.present = fake_models.OFFERS
            case "other-engine":
                models.present = fake_models.SOME
            case "work":
                an_operation = fake_models.an_operation
                models.work = (
                    an_operation("gemma3:12b"),
                    an_operation(
                        "qwen2.5:3b", doing=Doing.LOAD, progress=Progress("Loading qwen2.5:3b", 0, 0)
                    ),
                    an_operation(
                        "qwen3:32b",
                        outcome=Outcome.FAILED,
                        sentence="qwen3:32b could not be pulled, because the disk has no room left for 20 GB. "
                        "Free some space, then continue; the 3.1 GB that came are kept.",
                    ),
                )

    def _series(self, span_us: int) -> list[PowerPoint]:
        return [] if self.quiet else self.week.series(span_us, round(time.time() * 1e6))

    def snapshot(self) -> Snapshot:
        super().snapshot()
        seconds = time.time() - self.began
        snapshot = replace(self._of_state(seconds), at_us=round(time.time() * 1e6))
        if self.state not in ("empty", "starting"):
            self.week.add(
                snapshot.at_us,
                snapshot.gpu.power_w or 0.0,
                snapshot.marginal_w,
                len(snapshot.running),
                snapshot.money.cost_pico_per_hour,
                total_w=snapshot.total_w,
            )
        return snapshot

    def _of_state(self, seconds: float) -> Snapshot:
        snapshot = self.present
        match self.state:
            case "idle" | "loading":
                return snapshot
            case "empty":
                money = replace(snapshot.money, spent_pico=0)
                gpu = replace(snapshot.gpu, utilisation_pct=None, temperature_c=None, memory_used_b=None,
                              source="model", measured=False, limit_w=None)  # fmt: skip
                engine = replace(snapshot.engine, loaded=())
                return replace(snapshot, money=money, gpu=gpu, engine=engine)
            case "paused":
                return replace(snapshot, serving=Serving.PAUSED, blocker=fake.PAUSED)
            case "snoozed":
                until = round((self.began + 3 * 3600) * 1e6)
                return replace(
                    snapshot, serving=Serving.PAUSED, blocker=replace(fake.SNOOZED, until_us=until)
                )
            case "starting":
                return replace(snapshot, serving=Serving.STARTING, total_w=float("nan"))
            case "cap":
                money = replace(snapshot.money, spent_pico=snapshot.money.cap_pico)
                return replace(snapshot, serving=Serving.BLOCKED, blocker=fake.CAP_REACHED, money=money)
            case "managed":
                snapshot = replace(snapshot, host=fake.MANAGED)
            case "fallback":
                host = replace(
                    fake.MANAGED,
                    processor=Processor.FALLBACK,
                    problem="The engine computes on the processor, not on the GPU.",
                    fix="Restart the engine; if that does not help, restart Docker.",
                )
                return replace(snapshot, serving=Serving.BLOCKED, blocker=fake.GPU_UNUSED, host=host)
            case "drift":
                return replace(snapshot, host=replace(fake.MANAGED, drift=("engine_context_length",)))
            case "pulling":
                return replace(
                    snapshot, serving=Serving.BLOCKED, host=fake.PULLING,
                    blocker=replace(fake.ENGINE_DOWN, sentence="Downloading Ollama",
                                    ends="Serving begins by itself when the engine is ready"),
                )  # fmt: skip
            case "crashed":
                blocker = replace(
                    fake.ENGINE_DOWN,
                    code="engine_failed",
                    sentence=fake.CRASHED.problem or "",
                    ends=fake.CRASHED.fix or "",
                )
                return replace(snapshot, serving=Serving.BLOCKED, blocker=blocker, host=fake.CRASHED)
            case "docker":
                host = HostState(
                    HostPhase.ABSENT,
                    problem="Docker is not running.",
                    fix="Start Docker Desktop, or choose an Ollama that already runs.",
                )
                return replace(
                    snapshot,
                    serving=Serving.BLOCKED,
                    blocker=fake.DOCKER_GONE,
                    host=host,
                    engine=_away(snapshot),
                )
            case "stopped":
                return replace(
                    snapshot, serving=Serving.PAUSED, blocker=fake.PAUSED, host=HostState(HostPhase.STOPPED),
                    engine=_away(snapshot),
                )  # fmt: skip
            case "public":
                snapshot = replace(snapshot, public=fake.PUBLIC, host=fake.MANAGED)
            case "public-failed":
                return replace(
                    snapshot,
                    public=TunnelState(
                        TunnelPhase.FAILED, problem="Cloudflare refused the tunnel's token.",
                        fix="Copy the token again from Cloudflare's page of the tunnel.",
                    ),
                )  # fmt: skip
            case "no-engine":
                return replace(
                    snapshot, serving=Serving.BLOCKED, blocker=fake.ENGINE_DOWN, engine=_away(snapshot)
                )
            case "other-engine":
                engine = replace(snapshot.engine, name="llama-server", native=False)
                return replace(snapshot, engine=engine)
            case "down":
                return replace(snapshot, serving=Serving.BLOCKED, blocker=fake.ENGINE_DOWN)
            case "receipts":
                snapshot = replace(snapshot, receipts=(fake.receipts_of(ReceiptState.ACKNOWLEDGED),))
            case "waiting":
                snapshot = replace(snapshot, receipts=(fake.receipts_of(ReceiptState.WAITING),))
            case "overdue":
                now_us = round(time.time() * 1e6)
                late = replace(
                    fake.OVERDUE, since_us=now_us - fake.HOUR_US, next_us=now_us + 30 * fake.MINUTE_US
                )
                snapshot = replace(snapshot, receipts=(late,))
            case "disputed":
                snapshot = replace(snapshot, receipts=(fake.DISPUTED,))
        snapshot = self._busy(snapshot, seconds, 34 if self.state == "crowd" else 3)
        match self.state:
            case "finishing":
                return replace(snapshot, serving=Serving.FINISHING, blocker=replace(
                    fake.PAUSED, code="finishing", sentence="3 requests are ending",
                    ends="It pauses when they have ended"))  # fmt: skip
            case "simulation":
                return replace(snapshot, simulated=True)
            case "notice":
                return replace(
                    snapshot, notice="The disk is nearly full. Free some space, or records will have to wait."
                )
        return snapshot

    def _busy(self, snapshot: Snapshot, seconds: float, number: int) -> Snapshot:
        requests = tuple(self._request(index, seconds) for index in range(1, number + 1))
        marginal = fake.marginal_at(round(seconds) % 29)
        snapshot = fake.busy(snapshot, *requests)
        spent = snapshot.money.spent_pico + round(seconds * 46e5)
        return replace(
            snapshot,
            total_w=60 + marginal,
            marginal_w=marginal,
            gpu=replace(snapshot.gpu, power_w=marginal + 48),
            money=replace(snapshot.money, spent_pico=spent, cost_pico_per_hour=round(marginal * 150e6)),
        )

    def _request(self, index: int, seconds: float) -> RunningRequest:
        labels = ("Ada's laptop", "workstation in the lab", "phone")
        request = fake.a_request(index, key_label=labels[index % 3], queued=index > 2)
        if index == 2:
            request = replace(request, model="qwen2.5:3b", tokens_per_s=112.0)
        return replace(request, cost_pico=0 if request.queued else round(index * seconds * 2.3e6) + 8_407_500)


def _away(snapshot: Snapshot) -> EngineView:
    return replace(snapshot.engine, reachable=False, version=None, models=(), loaded=())


def dark_palette() -> QPalette:
    """What Fusion uses on a dark desktop."""
    palette = QPalette(QColor("#323232"))
    roles = QPalette.ColorRole
    for role, colour in {
        roles.Window: "#323232", roles.WindowText: "#f0f0f0", roles.Base: "#242424", roles.Text: "#f0f0f0",
        roles.AlternateBase: "#2b2b2b", roles.Button: "#3a3a3a", roles.ButtonText: "#f0f0f0",
        roles.ToolTipBase: "#3a3a3a", roles.ToolTipText: "#f0f0f0", roles.Highlight: "#308cc6",
        roles.HighlightedText: "#ffffff", roles.Link: "#7ab4f5", roles.PlaceholderText: "#80f0f0f0",
    }.items():  # fmt: skip
        palette.setColor(role, QColor(colour))
    for role in (roles.Text, roles.WindowText, roles.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#8a8a8a"))
    return palette


def rss_mb() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


async def cpu_percent(seconds: float) -> float:
    before = time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - before) / seconds * 100


async def look(app: QApplication, options: argparse.Namespace) -> None:
    began = time.perf_counter()
    face = LivelyGateway(options.state)
    ended = asyncio.Event()
    opened = []

    def open_window() -> None:
        from app.desktop.window import MainWindow

        if not opened:
            opened.append(MainWindow(face, ended.set))
            width, height = map(int, options.size.split("x"))
            opened[0].resize(width, height)
        opened[0].open()

    tray = Tray(face, open_window, ended.set)
    tray.show()
    if options.measure:
        await measure(face, open_window, opened, options.measure, began)
        tray.close()
        return
    if not options.tray_only:
        open_window()
        window = opened[0]
        page = window.go_to(options.page)
        if options.error:
            window.tasks.start(fail(), "The spending cap could not be set")
    if options.shot:
        await asyncio.sleep(options.after)
        if options.record:
            page.table.selectRow(2)
            page.verify.click()
            await asyncio.sleep(0.5)
        if options.span:
            page.graph.span_buttons[options.span].click()
            await asyncio.sleep(0.2)
        if options.hover:
            plot = page.graph.plot
            point = plot.mapToScene(QPoint(int(plot.width() * 0.7), plot.height() // 2))
            plot.scene().sigMouseMoved.emit(point)
            await asyncio.sleep(0.2)
        if options.press:
            press(page, options.press)
            await asyncio.sleep(0.5)
        if options.dialog:
            page.dialog.grab().save(options.shot)
        elif options.ask:
            page.cap.request(2 * 10**12)
            await asyncio.sleep(0.5)
            app.primaryScreen().grabWindow(0).save(options.shot)
        else:
            window.grab().save(options.shot)
        ended.set()
    await ended.wait()
    tray.close()
    if opened:
        opened[0].end()


def press(page, what: str) -> None:
    """Bring about a dialog: «details», «delete», «update», «public», «log», or «get» for a refusal."""
    match what:
        case "details" | "delete":
            actions = page.menu_of("llama3.1:8b").actions()
            next(action for action in actions if what in action.text().lower()).trigger()
        case "update":
            page.update_button.click()
        case "public":
            page.ask_public()
        case "log":
            page.engine.log.click()
            page.dialog = page.engine.dialog
        case "get":
            page._face.models.error = ModelError(
                "“nonsense” is not in Ollama's library. Check how it is spelt."
            )
            page.name.setText("nonsense")
            page.get.click()
        case "end":
            page.list.verticalScrollBar().setValue(10_000)


async def fail() -> None:
    raise ValueError("The cap must be 0 or more")


async def measure(face: LivelyGateway, open_window, opened: list, seconds: float, began: float) -> None:
    print(f"tray shown after {time.perf_counter() - began:.2f} s, RSS {rss_mb():.0f} MB")
    print(f"tray alone: CPU {await cpu_percent(seconds):.2f} %")
    lags: list[float] = []
    watch = asyncio.ensure_future(watch_lag(lags))
    began = time.perf_counter()
    open_window()
    print(f"window shown after {time.perf_counter() - began:.2f} s")
    overview = opened[0].go_to("Overview")
    while overview.graph.plot is None:
        await asyncio.sleep(0.01)
    print(f"graph there after {time.perf_counter() - began:.2f} s, longest lag {max(lags) * 1e3:.0f} ms")
    watch.cancel()
    await asyncio.sleep(3)
    print(f"window open: RSS {rss_mb():.0f} MB, CPU {await cpu_percent(seconds):.2f} %")
    opened[0].go_to("Ledger")
    await asyncio.sleep(3)
    print(f"ledger page: RSS {rss_mb():.0f} MB, CPU {await cpu_percent(seconds):.2f} %")
    opened[0].hide()
    await asyncio.sleep(1)
    print(f"window hidden: RSS {rss_mb():.0f} MB, CPU {await cpu_percent(seconds):.2f} %")
    opened[0].end()


async def watch_lag(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.002)
        lags.append(time.perf_counter() - before - 0.002)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--state", choices=STATES, default="busy")
    parser.add_argument("--page", choices=("Overview", "Ledger", "Models"), default="Overview")
    parser.add_argument("--size", default="960x680")
    parser.add_argument("--font", default="")
    parser.add_argument("--shot", default="")
    parser.add_argument("--after", type=float, default=2.5)
    parser.add_argument("--record", action="store_true", help="choose a record and verify")
    parser.add_argument("--span", type=int, default=0, help="which span of the graph, 0 to 3")
    parser.add_argument("--hover", action="store_true", help="point at the graph")
    parser.add_argument(
        "--ask", action="store_true", help="set a cap below what is spent; shoots the whole screen"
    )
    parser.add_argument("--press", default="", help="what `press` knows")
    parser.add_argument("--dialog", action="store_true", help="shoot the dialog alone")
    parser.add_argument("--error", action="store_true", help="let something fail")
    parser.add_argument("--tray-only", action="store_true")
    parser.add_argument("--measure", type=float, default=0.0)
    options = parser.parse_args()
    app = QApplication(sys.argv[:1])
    app.setApplicationDisplayName(APP_NAME)
    app.setQuitOnLastWindowClosed(False)
    app.setWindowIcon(app_icon())
    app.setAttribute(Qt.ApplicationAttribute.AA_DontShowIconsInMenus)
    if options.font:
        app.setFont(QFont(options.font, 10))
    if options.dark:
        app.setPalette(dark_palette())
    os.environ.setdefault("PYTHONASYNCIODEBUG", "0")
    run(lambda: look(app, options), app)


if __name__ == "__main__":
    main()
