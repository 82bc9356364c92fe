"""The label of a place code: an A6 page (ISO 216) as SVG, with the code and what to do with it."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

import segno

_WIDTH, _HEIGHT = 105, 148
_QR = 80
"""Millimetres."""


def label(code: str, place: str, community: str, short: str) -> str:
    """`short`: what somebody reads out to the desk where the code cannot be scanned."""
    made = segno.make(code, error="q", micro=False)
    modules = made.symbol_size(border=4)[0]
    buffer = io.BytesIO()
    made.save(buffer, kind="svg", border=4, xmldecl=False, svgns=False, svgclass=None, lineclass=None, omitsize=True)
    drawn = buffer.getvalue().decode()
    inner = drawn[drawn.index(">") + 1 : drawn.rindex("</svg>")]
    middle, left, scale = _WIDTH / 2, (_WIDTH - _QR) / 2, _QR / modules
    font = "font-family=\"'Noto Sans CJK SC','Microsoft YaHei','PingFang SC',sans-serif\" text-anchor=\"middle\""

    def line(y: float, size: float, text: str, weight: str = "normal") -> str:
        return f'<text x="{middle}" y="{y}" font-size="{size}" font-weight="{weight}" {font}>{escape(text)}</text>'

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}mm" height="{_HEIGHT}mm" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{escape(place)}</title>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        + line(12, 5, community)
        + line(24, 9 if len(place) <= 10 else 90 / len(place), place, "bold")
        + f'<g transform="translate({left} 28) scale({scale:.4f})">{inner}</g>'
        + line(117, 5, "到场后请扫码 · scan on arrival", "bold")
        + line(125, 3.6, "工作人员到场核验专用，请勿遮挡或撕毁")
        + line(131, 3.2, "For staff to show that they have arrived. Do not cover or remove.")
        + line(140, 4, short)
        + "</svg>"
    )
