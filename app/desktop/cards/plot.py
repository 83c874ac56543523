"""The picture of power over time; the only module that imports pyqtgraph.

Rule 1: it is imported when the window first opens, and in a thread: pyqtgraph and numpy take half a second and
50 MB, which an idle tray must not pay and a running stream must not feel.
Rule 2: steps, filled areas and one-pixel cosmetic pens without antialiasing, which is the fast path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QPainter, QPen, QPolygonF, QWheelEvent
from PySide6.QtWidgets import QApplication, QSizePolicy, QWidget

from app.desktop import format as fmt
from app.desktop.cards.graph_data import (
    SPANS,
    Piece,
    Span,
    pieces,
    point_at,
    round_top,
    time_ticks,
)
from app.desktop.text import current_theme, sized
from app.desktop.theme import Theme, mix
from app.power.history import DAY_US, PowerPoint


class PowerPlot(pg.PlotWidget):
    """Idle power muted, the clients' part in the accent. `read` is given the point under the crosshair, or None."""

    def __init__(self, read: Callable[[PowerPoint | None], None], parent: QWidget | None = None) -> None:
        watt_axis, time_axis = _WattAxis(orientation="left"), _TimeAxis(orientation="bottom")
        super().__init__(parent, axisItems={"left": watt_axis, "bottom": time_axis})
        self._watt_axis, self._time_axis = watt_axis, time_axis
        self._read = read
        self._points: Sequence[PowerPoint] = ()
        self._span = SPANS[0]
        self._pointer: QPointF | None = None
        self._chosen_us: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Power over time")
        self.setFrameShape(self.Shape.NoFrame)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.setMouseEnabled(x=False, y=False)
        item.hideButtons()
        item.disableAutoRange()
        item.setContentsMargins(0, 4, 4, 0)
        self._areas = _Areas()
        item.addItem(self._areas)
        self._lines = (pg.InfiniteLine(angle=90), pg.InfiniteLine(angle=0))
        for line in self._lines:
            line.hide()
            item.addItem(line, ignoreBounds=True)
        self.sceneObj.sigMouseMoved.connect(self._on_mouse)
        self.restyle()

    def show_points(self, points: Sequence[PowerPoint], span: Span, now_us: int) -> None:
        """Draw the window of `span` that ends at `now_us`."""
        self._points = points
        self._span = span
        top, step = round_top(points)
        start = (now_us - span.span_us) / 1e6
        self._watt_axis.step = step
        self._time_axis.span = span
        self.getPlotItem().setRange(xRange=(start, now_us / 1e6), yRange=(0, top), padding=0)
        area = QRectF(start, 0, span.span_us / 1e6, top)
        self._areas.show_pieces(*pieces(points, span.step_us), area, step)
        self._follow()

    def restyle(self) -> None:
        """Take colours and font anew."""
        theme = current_theme()
        self.setBackground(theme.surface)
        font = sized(QApplication.font(), -1)
        for axis in (self._watt_axis, self._time_axis):
            axis.setTickFont(font)
            axis.setTextPen(theme.muted)
            axis.setPen(theme.outline)
            axis.setStyle(tickLength=0)
        for line in self._lines:
            line.setPen(QPen(theme.plain, 0, Qt.PenStyle.DotLine))
        self._areas.restyle(theme)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_areas"):
            self.restyle()

    def wheelEvent(self, event: QWheelEvent) -> None:
        # The page scrolls; the graph neither zooms nor pans.
        event.ignore()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._pointer = None
        self._follow()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._chosen_us = None
        self._follow()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        move = moves.get(Qt.Key(event.key()))
        if move is not None and self._points:
            self._step(move)
        elif event.key() == Qt.Key.Key_Escape and self._chosen_us is not None:
            self._chosen_us = None
            self._follow()
        else:
            event.ignore()

    def _step(self, move: int) -> None:
        times = [point.at_us for point in self._points]
        present = point_at(self._points, self._chosen_us) if self._chosen_us is not None else None
        index = times.index(present.at_us) + move if present is not None else len(times) - 1
        self._chosen_us = times[min(len(times) - 1, max(0, index))]
        self._follow()

    def _on_mouse(self, position: QPointF) -> None:
        inside = self.getPlotItem().vb.sceneBoundingRect().contains(position)
        self._pointer = position if inside else None
        self._follow()

    def _follow(self) -> None:
        point: PowerPoint | None = None
        if self._pointer is not None:
            at_s = self.getPlotItem().vb.mapSceneToView(self._pointer).x()
            point = point_at(self._points, round(at_s * 1e6))
        elif self._chosen_us is not None:
            point = point_at(self._points, self._chosen_us)
        upright, level = self._lines
        upright.setVisible(point is not None)
        level.setVisible(point is not None and not point.is_gap)
        if point is not None:
            upright.setPos(point.at_us / 1e6)
            if not point.is_gap:
                level.setPos(point.total_w)
        self._read(point)


class _Areas(pg.GraphicsObject):
    """The filled steps, each with its upper edge as a line: the whole where clients have a part, then the idle part."""

    def __init__(self) -> None:
        super().__init__()
        self._layers: tuple[list[QPolygonF], list[QPolygonF]] = ([], [])
        self._area = QRectF(0, 0, 1, 1)
        self._grid_w = 50.0
        self._looks: tuple[tuple[QColor, QPen], ...] = ()
        self._grid_pen = QPen()

    def restyle(self, theme: Theme) -> None:
        self._looks = (
            (theme.clients, QPen(theme.accent, 0)),
            (theme.idle, QPen(mix(theme.idle, theme.plain, 0.35), 0)),
        )
        self._grid_pen = QPen(theme.outline, 0)
        self.update()

    def show_pieces(self, whole: list[Piece], idle: list[Piece], area: QRectF, grid_w: float) -> None:
        if area != self._area:
            self.prepareGeometryChange()
            self._area = area
        self._grid_w = grid_w
        self._layers = ([_polygon(piece) for piece in whole], [_polygon(piece) for piece in idle])
        self.update()

    def boundingRect(self) -> QRectF:
        return self._area

    def paint(self, painter: QPainter, *_: object) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        if self._layers[1]:
            painter.setPen(self._grid_pen)
            for index in range(1, round(self._area.bottom() / self._grid_w)):
                level = index * self._grid_w
                painter.drawLine(QPointF(self._area.left(), level), QPointF(self._area.right(), level))
        for polygons, (fill, pen) in zip(self._layers, self._looks, strict=True):
            painter.setPen(pen)
            painter.setBrush(fill)
            for polygon in polygons:
                painter.drawPolygon(polygon)


def _polygon(piece: Piece) -> QPolygonF:
    # The edge, and the way back along zero.
    corners = [QPointF(x, y) for x, y in zip(piece.x, piece.y, strict=True)]
    return QPolygonF([QPointF(piece.x[0], 0.0), *corners, QPointF(piece.x[-1], 0.0)])


class _WattAxis(pg.AxisItem):
    """Whole watts at round distances."""

    step = 50.0

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        count = round(high / self.step)
        return [(self.step, [index * self.step for index in range(count + 1)])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [fmt.watts(value) for value in values]


class _TimeAxis(pg.AxisItem):
    """Local times, or days where the window holds several."""

    span = SPANS[0]

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        ticks = time_ticks(round(low * 1e6), round(high * 1e6), self.span.tick_us)
        return [(self.span.tick_us / 1e6, [tick / 1e6 for tick in ticks])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        label = fmt.day if self.span.tick_us >= DAY_US else fmt.clock
        return [label(round(value * 1e6)) for value in values]
