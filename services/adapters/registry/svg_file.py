"""An SVG drawing as shapes of ours: what is on a short list is read, none of the file's own text is kept or shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from services.adapters.registry.drawing_files import MOST_BYTES, Drawn, NoDrawing, kind_of
from services.adapters.registry.svg_path import (
    IDENTITY,
    Matrix,
    Point,
    apply,
    ellipse,
    multiply,
    numbers,
    subpaths,
    transformation,
)
from services.domain.drawing import MOST_METRES, ShapeKind

MOST_ELEMENTS = 20_000
MOST_DEPTH = 40
_SVG = "{http://www.w3.org/2000/svg}"
_GROUPS = frozenset({"svg", "g", "a"})
_SHAPES = frozenset({"rect", "circle", "ellipse", "line", "polyline", "polygon", "path"})
_SILENT = frozenset({"title", "desc", "metadata", "defs", "namedview"})
_NAMING = ("data-kind", "{http://www.inkscape.org/namespaces/inkscape}label", "class", "id")
_LENGTH = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?)\s*(?:px|pt|mm|cm|m|in)?\s*$")


def from_svg(raw: bytes, metres_per_unit: float) -> Drawn:
    """Shapes, scaled to metres. Raises NoDrawing: no SVG, too large, or nothing in it that is drawn."""
    if len(raw) > MOST_BYTES:
        raise NoDrawing("文件超过 4 MB", "the file is larger than 4 MB")
    try:
        root = fromstring(raw, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException:
        raise NoDrawing(
            "文件含 DTD 或实体定义，不予接受；请另存为纯 SVG",
            "the file declares a DTD or entities and is refused; save it as plain SVG",
        ) from None
    except (ParseError, ValueError, LookupError, RecursionError):
        raise NoDrawing("不是有效的 SVG 文件", "this is no SVG file") from None
    if _local(root) != "svg":
        raise NoDrawing("不是有效的 SVG 文件", "this is no SVG file")
    left, top, width, height = _window(root)
    scale = metres_per_unit
    drawn = Drawn(round(width * scale, 1), round(height * scale, 1))
    if not (0 < drawn.width <= MOST_METRES and 0 < drawn.height <= MOST_METRES):
        raise NoDrawing(
            f"按此比例平面图为 {drawn.width:g} × {drawn.height:g} 米，请校准比例",
            f"at this scale the plan is {drawn.width:g} × {drawn.height:g} m; calibrate the scale",
        )
    ground: Matrix = (scale, 0, 0, scale, -left * scale, -top * scale)
    for element, kind, matrix in _walk(root, drawn):
        for points in _points(element, drawn):
            metres = [apply(matrix, point) for point in points]
            metres = [apply(ground, point) for point in metres]
            if not all(isfinite(x) and isfinite(y) and max(abs(x), abs(y)) <= MOST_METRES for x, y in metres):
                drawn.leave_out("far", "超出范围的图形", "shape out of range")
                continue
            if kind is None:
                drawn.leave_out(
                    "kind", "未标明类型、按“其他”绘制的图形", "shape without a known kind, drawn as “other”"
                )
            drawn.add(kind or ShapeKind.OTHER.value, [[round(x, 1), round(y, 1)] for x, y in metres])
    if not drawn.shapes:
        raise NoDrawing("文件中没有可用的图形", "there is no shape in the file that can be used")
    return drawn


def _local(element: Element) -> str:
    tag = element.tag if isinstance(element.tag, str) else ""
    if tag.startswith("{") and not tag.startswith(_SVG):
        return tag.rpartition("}")[2] if "sodipodi" in tag else "foreign"
    return tag.removeprefix(_SVG)


def _window(root: Element) -> tuple[float, float, float, float]:
    box = numbers(root.get("viewBox", "")[:200])
    if len(box) == 4 and box[2] > 0 and box[3] > 0:
        return box[0], box[1], box[2], box[3]
    width, height = _length(root, "width"), _length(root, "height")
    if width <= 0 or height <= 0:
        raise NoDrawing("SVG 缺少 viewBox 或宽高", "the SVG has neither a viewBox nor a width and height")
    return 0.0, 0.0, width, height


def _length(element: Element, name: str) -> float:
    """0 where it is not there or is a share of something."""
    found = _LENGTH.match(element.get(name, "")[:40])
    return float(found[1]) if found else 0.0


def _walk(root: Element, drawn: Drawn) -> Iterator[tuple[Element, str | None, Matrix]]:
    """Every shape with the kind that it or a group around it names; a stack, so that depth costs nothing."""
    stack: list[tuple[Element, str | None, Matrix, int]] = [(root, None, IDENTITY, 0)]
    seen = 0
    while stack:
        element, kind, matrix, depth = stack.pop()
        seen += 1
        if seen > MOST_ELEMENTS or depth > MOST_DEPTH:
            raise NoDrawing(
                f"图形过于复杂（上限 {MOST_ELEMENTS} 个元素、{MOST_DEPTH} 层）",
                f"too complex: {MOST_ELEMENTS} elements and {MOST_DEPTH} levels at most",
            )
        name = _local(element)
        if any(str(attribute).rpartition("}")[2].lower().startswith("on") for attribute in element.attrib):
            drawn.leave_out("on", "脚本属性（已忽略）", "attribute with a script (ignored)")
        if name in _GROUPS or name in _SHAPES:
            if "display:none" in element.get("style", "").replace(" ", "") or element.get("display") == "none":
                continue
            kind = _named(element) or kind
            if (text := element.get("transform")) is not None:
                matrix = multiply(matrix, transformation(text))
            if name in _SHAPES:
                yield element, kind, matrix
            else:
                stack.extend((child, kind, matrix, depth + 1) for child in reversed(element))
        elif name not in _SILENT and isinstance(element.tag, str):
            drawn.leave_out(f"<{name}>"[:30], f"不支持的元素 <{name[:20]}>", f"element <{name[:20]}>, not drawn")


def _named(element: Element) -> str | None:
    for attribute in _NAMING:
        for word in element.get(attribute, "")[:200].split():
            if (kind := kind_of(word)) is not None:
                return kind
    return None


def _points(element: Element, drawn: Drawn) -> Iterator[list[Point]]:
    name = _local(element)
    if name == "rect":
        x, y, w, h = (_length(element, side) for side in ("x", "y", "width", "height"))
        if w > 0 and h > 0:
            yield [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    elif name in ("circle", "ellipse"):
        r = _length(element, "r")
        rx, ry = (r, r) if name == "circle" else (_length(element, "rx"), _length(element, "ry"))
        if rx > 0 and ry > 0:
            yield ellipse(_length(element, "cx"), _length(element, "cy"), rx, ry)
    elif name == "line":
        x1, y1, x2, y2 = (_length(element, side) for side in ("x1", "y1", "x2", "y2"))
        yield [(x1, y1), (x2, y2)]
    elif name in ("polyline", "polygon"):
        flat = numbers(element.get("points", ""))
        points = list(zip(flat[::2], flat[1::2], strict=False))
        if name == "polygon" or element.get("fill", "") != "none":
            yield points
        else:
            yield from ([a, b] for a, b in pairwise(points))
    else:
        try:
            yield from list(subpaths(element.get("d", "")))
        except ValueError:
            drawn.leave_out("path", "无法读懂的路径", "path that cannot be read")
