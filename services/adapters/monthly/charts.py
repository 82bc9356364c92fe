"""Vector charts of the monthly report."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.graphics.charts.barcharts import HorizontalBarChart, VerticalBarChart
from reportlab.graphics.charts.legends import Legend
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import Color, HexColor

INK = HexColor("#1f2a37")
MUTED = HexColor("#667085")
RULE = HexColor("#d7dde5")
BLUE = HexColor("#1f6feb")
TEAL = HexColor("#12a594")
AMBER = HexColor("#e8912d")
RED = HexColor("#d1423f")
PAPER = HexColor("#f5f7fa")


def _step(top: float) -> float:
    """A round distance between about five lines."""
    for step in (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 2500, 5000, 10_000, 25_000):
        if top / step <= 6:
            return step
    return top / 5


def _legend(drawing: Drawing, font: str, names: Sequence[tuple[Color, str]], x: float, y: float) -> None:
    legend = Legend()
    legend.x, legend.y = x, y
    legend.boxAnchor = "ne"
    legend.alignment = "right"
    legend.columnMaximum = 1
    legend.deltax = 78
    legend.dx = legend.dy = 7
    legend.fontName, legend.fontSize = font, 8
    legend.fillColor = INK
    legend.strokeWidth, legend.strokeColor = 0, None
    legend.dxTextSpace = 4
    legend.colorNamePairs = list(names)
    drawing.add(legend)


def columns(
    font: str,
    width: float,
    height: float,
    labels: Sequence[str],
    series: Sequence[tuple[str, Color, Sequence[float | None]]],
    *,
    percent: bool = False,
    every: int = 1,
) -> Drawing:
    """Upright bars side by side; of `labels` every so manieth is written."""
    drawing = Drawing(width, height)
    chart = VerticalBarChart()
    chart.x, chart.y = 34, 26
    chart.width, chart.height = width - 44, height - 54
    chart.data = [tuple(value or 0 for value in values) for _, _, values in series]
    chart.categoryAxis.categoryNames = [label if number % every == 0 else "" for number, label in enumerate(labels)]
    top = 100.0 if percent else max([1.0, *(value or 0 for _, _, values in series for value in values)])
    step = 20.0 if percent else _step(top)
    chart.valueAxis.valueMin = 0
    chart.valueAxis.valueMax = 100 if percent else -(-top // step) * step
    chart.valueAxis.valueStep = step
    chart.valueAxis.labelTextFormat = "%d%%" if percent else "%d"
    for axis in (chart.valueAxis, chart.categoryAxis):
        axis.labels.fontName, axis.labels.fontSize, axis.labels.fillColor = font, 7.5, MUTED
        axis.strokeColor = RULE
    chart.valueAxis.visibleGrid = True
    chart.valueAxis.gridStrokeColor, chart.valueAxis.gridStrokeWidth = RULE, 0.4
    chart.categoryAxis.visibleTicks = False
    chart.categoryAxis.labels.dy = -2
    chart.barSpacing, chart.groupSpacing = 0.6, 5
    chart.strokeColor = None
    for number, (_, color, _) in enumerate(series):
        chart.bars[number].fillColor = color
        chart.bars[number].strokeColor = None
    drawing.add(chart)
    _legend(drawing, font, [(color, name) for name, color, _ in series], width - 4, height - 4)
    return drawing


def bars(font: str, width: float, labels: Sequence[str], values: Sequence[float], color: Color = BLUE) -> Drawing:
    """Lying bars, the first on top, each with its number."""
    height = 20 + 17 * len(labels)
    drawing = Drawing(width, height)
    chart = HorizontalBarChart()
    chart.x, chart.y = 100, 8
    chart.width, chart.height = width - 140, height - 12
    chart.data = [tuple(reversed(values))]
    chart.categoryAxis.categoryNames = list(reversed(labels))
    chart.categoryAxis.labels.fontName, chart.categoryAxis.labels.fontSize = font, 8.5
    chart.categoryAxis.labels.fillColor = INK
    chart.categoryAxis.labels.dx = -4
    chart.categoryAxis.strokeColor = RULE
    chart.categoryAxis.visibleTicks = False
    chart.valueAxis.visible = False
    chart.valueAxis.valueMin = 0
    chart.valueAxis.valueMax = max([1.0, *values])
    chart.groupSpacing = 4
    chart.bars[0].fillColor = color
    chart.bars[0].strokeColor = None
    chart.barLabelFormat = "%d"
    chart.barLabels.fontName, chart.barLabels.fontSize = font, 8
    chart.barLabels.fillColor = MUTED
    chart.barLabels.boxAnchor = "w"
    chart.barLabels.dx = 4
    chart.strokeColor = None
    drawing.add(chart)
    return drawing
