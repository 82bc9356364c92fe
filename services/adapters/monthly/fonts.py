"""A font for the PDF with exactly the characters that stand in it, from what is on this machine.

The cockpit's build holds Noto Sans SC in about a hundred pieces (SIL Open Font License); the needed glyphs are drawn
together into one TrueType font. Without the cockpit: `LINHUB_REPORT_FONT`, or the Chinese fonts Debian packages.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont, TTLibError

SETTING = "LINHUB_REPORT_FONT"
_COCKPIT = Path(__file__).resolve().parents[2] / "api" / "cockpit"
_PIECES = ("dist/assets/noto-sans-sc-*-{weight}-normal*.woff2",
           "node_modules/@fontsource/noto-sans-sc/files/noto-sans-sc-*-{weight}-normal.woff2")  # fmt: skip
SYSTEM = (
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/arphic/uming.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
)
_EM = 1000
_PROBE = "月报结案"


class NoFont(Exception):
    """There is no font with Chinese characters here; the message says how to come by one."""


def font_files(weight: int, cockpit: Path = _COCKPIT, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """The font as one file or in pieces. Raises NoFont."""
    if named := environment.get(SETTING):
        if not Path(named).is_file():
            raise NoFont(f"{SETTING}={named}: 没有这个文件 · there is no such file")
        return [Path(named)]
    for pattern in _PIECES:
        if found := sorted(cockpit.glob(pattern.format(weight=weight))):
            return found
    for name in SYSTEM:
        if Path(name).is_file():
            return [Path(name)]
    raise NoFont(
        "没有可用的中文字体：构建驾驶舱（make web），或安装 fonts-droid-fallback，或用 "
        f"{SETTING} 指定 TTF · no Chinese font here: build the cockpit (make web), install fonts-droid-fallback, or "
        f"name a TrueType font in {SETTING}"
    )


def _open(path: Path) -> TTFont:
    try:
        content = io.BytesIO(path.read_bytes())
        return TTCollection(content).fonts[0] if path.suffix.lower() == ".ttc" else TTFont(content, lazy=True)
    except (TTLibError, OSError, ImportError) as error:
        raise NoFont(f"{path}: 不是可用的字体 · not a font that can be used: {error}") from error


@lru_cache(maxsize=8)
def _index(files: tuple[Path, ...]) -> dict[int, Path]:
    index: dict[int, Path] = {}
    for path in files:
        with _open(path) as font:
            for code in font.getBestCmap():
                index.setdefault(code, path)
    return index


def make_font(text: Iterable[str], weight: int, name: str, files: Iterable[Path] | None = None) -> bytes:
    """A TrueType font of the characters of `text`; what no font here has is left out. Raises NoFont."""
    chosen = tuple(files if files is not None else font_files(weight))
    index = _index(chosen)
    if not any(ord(letter) in index for letter in _PROBE):
        raise NoFont(f"{chosen[0]}: 字体里没有汉字 · the font has no Chinese characters")
    wanted = sorted({ord(letter) for letter in "".join(text)} | {0x20, 0x3F})
    glyphs = {".notdef": TTGlyphPen(None).glyph()}
    widths = {".notdef": (_EM // 2, 0)}
    cmap: dict[int, str] = {}
    by_file: dict[Path, list[int]] = {}
    for code in wanted:
        if code in index:
            by_file.setdefault(index[code], []).append(code)
    for path, codes in by_file.items():
        with _open(path) as font:
            given, drawn = font.getBestCmap(), font.getGlyphSet()
            scale = _EM / font["head"].unitsPerEm
            for code in codes:
                letter = f"u{code:04X}"
                pen = TTGlyphPen(None)
                # Curves of the third degree become those of TrueType; composites are drawn out.
                drawn[given[code]].draw(TransformPen(Cu2QuPen(pen, 1.0), (scale, 0, 0, scale, 0, 0)))
                glyphs[letter] = pen.glyph()
                widths[letter] = (round(drawn[given[code]].width * scale), 0)
                cmap[code] = letter
    builder = FontBuilder(_EM, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap(cmap)
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(
        {letter: (width, getattr(glyphs[letter], "xMin", 0) or 0) for letter, (width, _) in widths.items()}
    )
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": name, "styleName": "Regular", "psName": name})
    builder.setupOS2(sTypoAscender=880, usWinAscent=1160, usWinDescent=288)
    builder.setupPost()
    made = io.BytesIO()
    builder.save(made)
    return made.getvalue()
