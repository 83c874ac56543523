"""The card «Spending cap»: what is spent of it, the slider, and the exact field.

Rule 1: a change takes effect at once, and the last one wins. Rule 2: a cap below what is already spent stops serving,
so it is asked about first, in a dialog that blocks nothing. Rule 3: what was typed is money, exactly, or is refused.
"""

from __future__ import annotations

from PySide6.QtCore import QLocale, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QFontMetrics, QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMessageBox, QWidget

from app.billing.money import MAX_PICO, format_money, to_pico
from app.billing.periods import Period
from app.desktop import format as fmt
from app.desktop.cards.cap_slider import CapSlider
from app.desktop.cards.card import Card
from app.desktop.cards.graph_data import cap_reached_at
from app.desktop.tasks import FaceTasks
from app.desktop.text import ElidedText, Text, sized
from app.desktop.theme import INNER_GAP, SPACE, Tone
from app.face import GatewayFace, MoneyView, Snapshot
from app.power.history import DAY_US, MINUTE_US, SPANS_US


class MoneyField(QLineEdit):
    """An amount of money, typed as people write it.

    `chosen` carries pico-units when Enter is pressed or the focus leaves; `refused` a sentence.
    """

    chosen = Signal(object)
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._currency = "USD"
        self._shown_pico = 0
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setAccessibleName("Spending cap, exact amount")
        self.setToolTip("The cap, exactly. Enter sets it, Esc leaves it as it is.")
        self.setFont(sized(self.font(), 0))
        self.returnPressed.connect(self._commit)

    def show_amount(self, pico: int, currency: str) -> None:
        """Show an amount; never over what is being typed."""
        self._shown_pico, self._currency = pico, currency
        if not (self.hasFocus() and self.isModified()):
            self._reset()

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        return QSize(
            QFontMetrics(self.font()).horizontalAdvance("$1,000,000.00") + 2 * INNER_GAP, hint.height()
        )

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self._commit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.isModified():
            self._reset()
            self.selectAll()
            return
        super().keyPressEvent(event)

    def _commit(self) -> None:
        if not self.isModified():
            return
        pico = parse_money(self.text(), self._currency)
        typed = self.text()
        self._reset()
        if pico is None:
            example = format_money(10**13, self._currency)
            self.refused.emit(f"“{typed}” is not an amount. Write it like {example}.")
        else:
            self.chosen.emit(pico)

    def _reset(self) -> None:
        text = format_money(self._shown_pico, self._currency)
        if text != self.text():
            self.setText(text)
        self.setModified(False)


def parse_money(text: str, currency: str) -> int | None:
    """Pico-units of what a person typed in `currency`; None where it is not an amount from 0 to 9.2 million."""
    sign = format_money(0, currency).rstrip("0123456789.").strip()
    locale = QLocale()
    for symbol in (sign, currency):
        amount = fmt.parse_amount(
            text, symbol=symbol, decimal_point=locale.decimalPoint(), group=locale.groupSeparator()
        )
        if amount is not None:
            return to_pico(amount) if amount <= MAX_PICO // 10**12 else None
    return None


class CapCard(Card):
    """What is spent of the cap, and the cap."""

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
        super().__init__("Spending cap", parent)
        self._face = face
        self._tasks = tasks
        self._money: MoneyView | None = None
        self._at_us = 0
        self._wanted: int | None = None
        self._setting = False
        self._forecast = ""
        self._forecast_of: tuple[int, int] | None = None
        self._refusal = ""
        self._dialog: QMessageBox | None = None

        self._spent = Text(fmt.NOTHING, steps=2, semibold=True)
        self._of = ElidedText(tone=Tone.MUTED)
        self.field = MoneyField()
        self.field.chosen.connect(self.request)
        self.field.refused.connect(self._refuse)
        row = QHBoxLayout()
        row.setSpacing(INNER_GAP)
        row.addWidget(self._spent, 0, Qt.AlignmentFlag.AlignBaseline)
        row.addWidget(self._of, 1, Qt.AlignmentFlag.AlignBaseline)
        row.addWidget(self.field, 0, Qt.AlignmentFlag.AlignVCenter)

        self.slider = CapSlider()
        self.slider.sliderMoved.connect(self._preview)
        self.slider.sliderReleased.connect(lambda: self.request(self.slider.chosen_pico()))
        self.slider.valueChanged.connect(self._moved)
        self._caption = Text(tone=Tone.MUTED, wrap=True)
        self.body.addLayout(row)
        self.body.addSpacing(SPACE)
        self.body.addWidget(self.slider)
        self.body.addWidget(self._caption)
        self.body.addStretch(1)

    @property
    def text(self) -> str:
        """What is spent of the cap, as shown."""
        return f"{self._spent.text()} {self._of.text()}"

    @property
    def caption(self) -> str:
        """The line under the slider."""
        return self._caption.text()

    @property
    def dialog(self) -> QMessageBox | None:
        """The question about a cap below what is spent, while it is open."""
        return self._dialog

    def edit(self) -> None:
        """Put the cursor into the exact field."""
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)
        self.field.selectAll()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment."""
        money = snapshot.money
        self._money, self._at_us = money, snapshot.at_us
        self._spent.say(format_money(money.spent_pico, money.currency))
        self._show_cap(money.cap_pico if self._wanted is None else self._wanted, money)
        self._foresee(money)
        self._write_caption(money)

    def request(self, cap_pico: int) -> None:
        """Set the cap, asking first where it is below what is already spent."""
        money = self._money
        self._refusal = ""
        if money is None or cap_pico == money.cap_pico:
            self._revert()
        elif cap_pico < money.spent_pico:
            self._ask(cap_pico, money)
        else:
            self._set(cap_pico)

    def _show_cap(self, cap_pico: int, money: MoneyView) -> None:
        if self.slider.isSliderDown():
            return
        self._of.say(f"of {format_money(cap_pico, money.currency)} {Period(money.cap_period).this}".rstrip())
        self.field.show_amount(cap_pico, money.currency)
        self.slider.show_money(cap_pico, money.spent_pico, money.held_pico)
        self.slider.setToolTip(format_money(cap_pico, money.currency))

    def _revert(self) -> None:
        if self._money is not None:
            self._show_cap(self._money.cap_pico, self._money)
            self._write_caption(self._money)

    def _preview(self) -> None:
        if self._money is not None:
            text = format_money(self.slider.chosen_pico(), self._money.currency)
            self._of.say(f"of {text}")
            self.field.setText(text)
            self.field.setModified(False)

    def _moved(self) -> None:
        if not self.slider.isSliderDown():
            self.request(self.slider.chosen_pico())

    def _refuse(self, sentence: str) -> None:
        self._refusal = sentence
        if self._money is not None:
            self._write_caption(self._money)

    def _set(self, cap_pico: int) -> None:
        self._wanted = cap_pico
        if self._money is not None:
            self._show_cap(cap_pico, self._money)
        if not self._setting:
            self._setting = True
            self._tasks.start(self._apply(), "The spending cap could not be set")

    async def _apply(self) -> None:
        # A held-down key asks faster than a disk answers; what is set is always the latest wish.
        try:
            done: int | None = None
            while self._wanted != done and self._wanted is not None:
                done = self._wanted
                await self._face.settings.set_cap(done)
        finally:
            self._setting = False
            self._wanted = None
            self.show_snapshot(self._face.snapshot())

    def _ask(self, cap_pico: int, money: MoneyView) -> None:
        new = format_money(cap_pico, money.currency)
        spent = format_money(money.spent_pico, money.currency)
        box = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Spending cap")
        box.setText(f"{spent} is already spent. Set the cap to {new}?")
        until = (
            f"until {money.renews} or until you raise the cap" if money.renews else "until you raise the cap"
        )
        box.setInformativeText(f"Running requests end, and no request is served {until}.")
        accept = box.addButton(f"Set to {new}", QMessageBox.ButtonRole.AcceptRole)
        keep = box.addButton(
            f"Keep {format_money(money.cap_pico, money.currency)}", QMessageBox.ButtonRole.RejectRole
        )
        box.setDefaultButton(keep)
        box.setEscapeButton(keep)

        def answered() -> None:
            self._dialog = None
            if box.clickedButton() is accept:
                self._set(cap_pico)
            else:
                self._revert()

        box.finished.connect(answered)
        self._dialog = box
        box.open()

    def _foresee(self, money: MoneyView) -> None:
        # A forecast that moves every second is noise; the history behind it changes by the quarter of an hour.
        key = (self._at_us // (5 * MINUTE_US), money.cap_pico)
        if key == self._forecast_of:
            return
        self._forecast_of = key
        reached_us = cap_reached_at(self._face.history(SPANS_US[-1]), money.remaining_pico, self._at_us)
        self._forecast = ""
        if reached_us is not None and (money.renews_us is None or reached_us < money.renews_us):
            soon = reached_us - self._at_us < DAY_US
            self._forecast = (
                f"reached about {fmt.when(reached_us, self._at_us) if soon else fmt.day(reached_us)}"
            )

    def _write_caption(self, money: MoneyView) -> None:
        reached = money.spent_pico >= money.cap_pico
        tone = Tone.BAD if self._refusal or reached else Tone.MUTED
        if self._refusal:
            text = self._refusal
        elif reached:
            text = "The cap is reached. Raise it to serve again."
            if money.renews:
                text = f"The cap is reached until {money.renews}. Raise it to serve before that."
        else:
            held = (
                f"held {format_money(money.held_pico, money.currency)}" if money.held_pico else "nothing held"
            )
            renews = f"anew from {money.renews}" if money.renews else ""
            text = " · ".join(part for part in (held, self._forecast, renews) if part)
        self._caption.set_tone(tone)
        self._caption.say(text)
