"""The card «This GPU»: watts now, load, memory, temperature, and where the watts come from.

Rule: what the card does not tell is a dash, never a zero, and a modelled figure says that it is one.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QWidget

from app.desktop import format as fmt
from app.desktop import wording
from app.desktop.cards.card import Bar, Card
from app.desktop.text import ElidedText, Text
from app.desktop.theme import CARD_GAP, INNER_GAP, Tone
from app.face import GpuView, Snapshot


class GpuCard(Card):
    """The GPU as last read."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("This GPU", parent)
        self._name = ElidedText(tone=Tone.MUTED)
        self._name.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.head.addWidget(self._name, 1)
        self._watts = Text(fmt.NOTHING, steps=2, semibold=True)
        self._limit = ElidedText(tone=Tone.MUTED)
        self._temperature = Text()
        row = QHBoxLayout()
        row.setSpacing(INNER_GAP)
        row.addWidget(self._watts, 0, Qt.AlignmentFlag.AlignBaseline)
        row.addWidget(self._limit, 1, Qt.AlignmentFlag.AlignBaseline)
        row.addWidget(self._temperature, 0, Qt.AlignmentFlag.AlignBaseline)

        self._load = Gauge("Load")
        self._memory = Gauge("Memory")
        gauges = QGridLayout()
        gauges.setHorizontalSpacing(CARD_GAP)
        gauges.setVerticalSpacing(INNER_GAP)
        gauges.setColumnStretch(1, 1)
        for line, gauge in enumerate((self._load, self._memory)):
            gauges.addWidget(gauge.label, line, 0)
            gauges.addWidget(gauge.bar, line, 1, Qt.AlignmentFlag.AlignVCenter)
            gauges.addWidget(gauge.value, line, 2, Qt.AlignmentFlag.AlignRight)
        self._source = ElidedText(tone=Tone.MUTED)
        self.body.addLayout(row)
        self.body.addLayout(gauges)
        self.body.addWidget(self._source)
        self.body.addStretch(1)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment."""
        gpu = snapshot.gpu
        self._name.say(gpu.name)
        self._watts.say(fmt.watts(gpu.power_w))
        self._limit.say(f"of {fmt.watts(gpu.limit_w)}" if gpu.limit_w else "")
        self._temperature.say("" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C")
        self._load.show_value(
            fmt.percent(gpu.utilisation_pct),
            None if gpu.utilisation_pct is None else gpu.utilisation_pct / 100,
        )
        self._memory.show_value(fmt.memory(gpu.memory_used_b, gpu.memory_total_b), _memory_share(gpu))
        self._source.say(f"Watts are {wording.gpu_source(gpu)}.")


class Gauge:
    """A label, a bar and a figure, to be laid out in columns with others."""

    def __init__(self, name: str) -> None:
        self.label = Text(name, tone=Tone.MUTED)
        self.bar = Bar(name)
        self.value = Text(fmt.NOTHING)

    def show_value(self, text: str, share: float | None) -> None:
        """Show a figure and how full that is."""
        self.value.say(text)
        self.bar.set_share(share or 0.0)


def _memory_share(gpu: GpuView) -> float | None:
    if gpu.memory_used_b is None or not gpu.memory_total_b:
        return None
    return gpu.memory_used_b / gpu.memory_total_b
