"""The dialogs of the models page: a model's facts, and a new version from a web address.

Rule 1: what an engine tells of a model is anybody's text: it is shown as plain text, whatever types it came in.
Rule 2: a form that was refused stays open with what was typed, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialogButtonBox, QFormLayout, QGridLayout, QLineEdit, QTabWidget, QWidget

from app.desktop import format as fmt
from app.desktop import model_wording as wording
from app.desktop.cards.headline import Strip
from app.desktop.dialogs import Dialog, reading
from app.desktop.text import Text
from app.desktop.theme import CARD_GAP, SPACE, Tone
from app.models.base import Entry, ModelError

_TEXTS: Final = (
    ("parameters", "Parameters"),
    ("template", "Template"),
    ("system", "System prompt"),
    ("license", "Licence"),
)
_SHA256: Final = re.compile(r"(?:sha256:)?[0-9a-fA-F]{64}")


def model_facts(entry: Entry, told: dict[str, Any]) -> list[tuple[str, str]]:
    """Labels and values, of those that are known. `told` is what the engine says of the model (/api/show)."""
    details = told.get("details")
    details = details if isinstance(details, dict) else {}
    info = told.get("model_info")
    info = info if isinstance(info, dict) else {}
    context = next((value for key, value in info.items() if str(key).endswith(".context_length")), None)
    abilities = told.get("capabilities")
    facts = (
        ("On the disk", fmt.size(entry.size_b) if entry.size_b else ""),
        ("In memory", entry.estimate.sentence),
        ("Loaded", wording.memory(entry)),
        ("Family", entry.family or str(details.get("family") or "")),
        ("Parameters", entry.parameter_size or str(details.get("parameter_size") or "")),
        ("Quantisation", entry.quantization or str(details.get("quantization_level") or "")),
        ("Context at most", f"{context:,} tokens" if isinstance(context, int) else ""),
        ("Abilities", ", ".join(map(str, abilities)) if isinstance(abilities, list | tuple) else ""),
        ("Digest", entry.digest.removeprefix("sha256:")[:12]),
    )
    return [(label, value) for label, value in facts if value]


class DetailsDialog(Dialog):
    """What is known of one model."""

    def __init__(self, entry: Entry, told: dict[str, Any], parent: QWidget) -> None:
        super().__init__(entry.name, parent)
        self.facts = dict(model_facts(entry, told))
        grid = QGridLayout()
        grid.setHorizontalSpacing(CARD_GAP)
        grid.setVerticalSpacing(SPACE)
        grid.setColumnStretch(1, 1)
        for line, (label, fact) in enumerate(self.facts.items()):
            value = Text(fact, wrap=True, selectable=True)
            value.setAccessibleName(label)
            grid.addWidget(Text(label, tone=Tone.MUTED), line, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(value, line, 1)
        if entry.note:
            self.body.addWidget(Text(entry.note, wrap=True))
        self.body.addLayout(grid)
        texts = [(title, str(told[key]).strip()) for key, title in _TEXTS if told.get(key)]
        if texts:
            tabs = QTabWidget()
            tabs.setDocumentMode(True)
            for title, text in texts:
                tabs.addTab(reading(text, title), title)
            self.body.addWidget(tabs, 1)
        self.buttons.addButton(QDialogButtonBox.StandardButton.Close)
        self.take_width(140 * SPACE)


class UpdateDialog(Dialog):
    """Asks for an address, a name and, if known, a checksum. `begin` raises ModelError where it refuses."""

    def __init__(self, begin: Callable[[str, str, str], object], parent: QWidget) -> None:
        super().__init__("Update from a web address", parent)
        self._begin = begin
        self.address, self.name, self.sha256 = QLineEdit(), QLineEdit(), QLineEdit()
        self.address.setPlaceholderText("https://…/model.gguf")
        self.name.setPlaceholderText("for example mortdecai:latest")
        self.sha256.setPlaceholderText("64 digits; may be left empty")
        form = QFormLayout()
        form.setHorizontalSpacing(CARD_GAP)
        form.setVerticalSpacing(2 * SPACE)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, field in (("Address", self.address), ("Name", self.name), ("SHA-256", self.sha256)):
            field.setAccessibleName(label)
            field.textChanged.connect(self._check)
            form.addRow(label, field)
        self.problem = Strip("warning", Tone.BAD)
        self.body.addWidget(
            Text(
                "A GGUF file is fetched and becomes the model with this name. A model that had the name comes back if "
                "the new one does not pass its test.",
                wrap=True,
                tone=Tone.MUTED,
            )
        )
        self.body.addLayout(form)
        self.body.addWidget(self.problem)
        self.body.addStretch(1)
        self.get = self.buttons.addButton("Get", QDialogButtonBox.ButtonRole.ActionRole)
        self.get.setDefault(True)
        self.get.clicked.connect(self._try)
        self.buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        self._check()
        self.take_width(130 * SPACE)

    def _check(self) -> None:
        self.get.setEnabled(bool(self.address.text().strip() and self.name.text().strip()))

    def _try(self) -> None:
        sha256 = self.sha256.text().strip()
        if sha256 and not _SHA256.fullmatch(sha256):
            self.problem.say(
                "That is no SHA-256: it has 64 digits from 0 to f. Copy it again, or leave it empty."
            )
            self.grow()
            self.sha256.setFocus()
            return
        try:
            self._begin(
                self.address.text().strip(), self.name.text().strip(), sha256.removeprefix("sha256:").lower()
            )
        except ModelError as error:
            self.problem.say(str(error))
            self.grow()
            return
        self.accept()
