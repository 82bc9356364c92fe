"""Drawings and sheets from strangers: what is taken, what is left out, and what is refused at once."""

from __future__ import annotations

import json
import time

import pytest

from services.adapters.registry.csv_file import Column, Unreadable, neutral, plain, read
from services.adapters.registry.drawing_files import NoDrawing, from_geojson
from services.adapters.registry.svg_file import from_svg
from services.adapters.registry.svg_path import subpaths, transformation
from services.domain.drawing import ORDER, check_drawing
from services.domain.evidence.plan import Datum, Ground

NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 50"'
ROAD = '<rect class="road" x="0" y="0" width="9" height="9"/>'
LAUGHS = (
    "<!DOCTYPE svg ["
    + "".join(
        f'<!ENTITY a{n} "{"&a" + str(n - 1) + ";" if n else "ha"}{"&a" + str(n - 1) + ";" if n else ""}">'
        for n in range(40)
    )
    + f"]><svg {NS}><text>&a39;</text>{ROAD}</svg>"
)
REFUSED = {
    "billion laughs": LAUGHS,
    "external entity": f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/x">]><svg {NS}><text>&x;</text>{ROAD}</svg>',
    "parameter entity": f'<!DOCTYPE svg [<!ENTITY % x SYSTEM "http://a.example/x">%x;]><svg {NS}>{ROAD}</svg>',
    "doctype": f'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://a.example/svg.dtd"><svg {NS}>{ROAD}</svg>',
    "deep": f"<svg {NS}>" + "<g>" * 5000 + ROAD + "</g>" * 5000 + "</svg>",
    "many": f"<svg {NS}>" + ROAD * 20_001 + "</svg>",
    "points": f'<svg {NS}><polygon class="road" points="{"1,1 " * 60_001}"/></svg>',
    "large": f"<svg {NS}>" + " " * (4 * 1024 * 1024) + "</svg>",
    "no xml": "GIF89a",
    "html": "<html><body/></html>",
    "cut": f"<svg {NS}><g>",
    "empty": f"<svg {NS}/>",
    "no size": f'<svg xmlns="http://www.w3.org/2000/svg">{ROAD}</svg>',
    "giant": f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1e9 1e9">{ROAD}</svg>',
    "far": f'<svg {NS}><rect class="road" x="1e99" y="0" width="9" height="9"/></svg>',
    "nan": f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="nan nan nan nan">{ROAD}</svg>',
    "foreign": f'<svg {NS} xmlns:x="urn:x"><x:rect width="9" height="9"/></svg>',
    "hidden": f'<svg {NS}><g style="display: none">{ROAD}</g></svg>',
}


@pytest.mark.parametrize("svg", REFUSED.values(), ids=REFUSED.keys())
def test_svg_that_is_hostile_or_useless_is_refused_quickly(svg: str) -> None:
    began = time.process_time()
    with pytest.raises(NoDrawing) as refused:
        from_svg(svg.encode(), 1.0)
    assert refused.value.words.zh and refused.value.words.en
    assert time.process_time() - began < 5


LEFT_OUT = {
    "script": "<script>alert(1)</script>",
    "foreign object": "<foreignObject><iframe src='http://a.example'/></foreignObject>",
    "style": "<style>*{background:url(http://a.example)}</style>",
    "image": "<image xlink:href='http://a.example/x.png'/>",
    "use": "<use xlink:href='#a'/>",
    "set": "<set attributeName='href' to='javascript:alert(1)'/>",
    "text": "<text>名称</text>",
    "handler": "<g onload='alert(1)'/>",
}


@pytest.mark.parametrize("inside", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_svg_keeps_shapes_alone_and_says_what_it_left_out(inside: str) -> None:
    drawn = from_svg(f"<svg {NS}>{inside}{ROAD}</svg>".encode(), 1.0)
    assert drawn.shapes == [{"kind": "road", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]}]
    assert drawn.told()
    told = json.dumps(drawn.shapes)
    assert "example" not in told and "alert" not in told


def test_svg_takes_every_shape_with_its_group_and_its_transformation() -> None:
    drawn = from_svg(
        f"""<svg {NS}><g id="green" transform="translate(10 5) scale(2)">
        <circle cx="5" cy="5" r="2"/><ellipse cx="5" cy="5" rx="2" ry="1"/><polygon points="0,0 4,0 4,4"/>
        <path d="M0 0 H4 V4 z m1 1 q1 1 2 0 t2 0 c1 1 2 2 3 0 s1 1 2 0 a2 1 30 1 0 3 3"/></g>
        <line data-kind="path" x1="0" y1="0" x2="5" y2="5"/><polyline class="road" fill="none" points="0,0 5,5 9,5"/>
        <rect width="3" height="3"/></svg>""".encode(),
        2.0,
    )
    assert (drawn.width, drawn.height) == (200, 100)
    assert {shape["kind"] for shape in drawn.shapes} == {"green", "path", "road", "other"}
    triangle = next(shape for shape in drawn.shapes if len(shape["points"]) == 3)
    assert triangle["points"] == [[20, 10], [36, 10], [36, 26]]
    assert check_drawing({"width": drawn.width, "height": drawn.height, "shapes": drawn.shapes}) == []


def test_svg_arcs_end_where_they_should() -> None:
    (points,) = subpaths("M10 0 A10 10 0 0 1 0 10")
    assert points[-1] == pytest.approx((0, 10), abs=1e-9)
    assert all((x * x + y * y) ** 0.5 == pytest.approx(10) for x, y in points)
    assert transformation("rotate(90 1 1)")[4:] == pytest.approx((2, 0))


@pytest.mark.parametrize("path", ["10 10", "M 1", "M0 0 L", "M0 0 C1 1 2 2", "M0 0 z 5"])
def test_svg_path_that_is_none_is_left_out(path: str) -> None:
    with pytest.raises(ValueError, match="numbers"):
        list(subpaths(path))


GROUND = Ground(29.7, 116.0, 400, 300)


def _geo(coordinates: object, kind: object = "road", sort: str = "Polygon") -> bytes:
    feature = {"type": "Feature", "properties": {"kind": kind}, "geometry": {"type": sort, "coordinates": coordinates}}
    return json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()


def test_geojson_lands_where_it_is_in_either_datum() -> None:
    ring = [[116.001, 29.699], [116.002, 29.699], [116.002, 29.698], [116.001, 29.699]]
    plain_ = from_geojson(_geo([ring]), GROUND, Datum.WGS84).shapes[0]
    assert plain_["kind"] == "road" and len(plain_["points"]) == 3
    assert plain_["points"][0] == pytest.approx([96.7, 111.3], abs=0.2)
    shifted = from_geojson(_geo([ring]), GROUND, Datum.GCJ02).shapes[0]
    assert (
        200
        < abs(shifted["points"][0][0] - plain_["points"][0][0]) + abs(shifted["points"][0][1] - plain_["points"][0][1])
        < 1200
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"[]", b"\xff", b'{"type": "Point"}', _geo([[]]), _geo([[[200, 99]]]), _geo("x"), _geo([[["a", "b"]]]),
        _geo([[[1, 1], [2, 2], [3, 3]]]), _geo([[[116, 29.7], [116.001, 29.7], [116, 29.69]]], "castle"),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_geojson_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(NoDrawing) as refused:
        from_geojson(raw, GROUND, Datum.WGS84)
    assert refused.value.words.zh


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "'=1", "''-2", "\t=1", "＝1", "plain", "'quoted", ""])
def test_sheet_cell_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    cell = neutral(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "＝"))
    assert plain(cell) == text


COLUMNS = (Column("id", "编号", needed=True), Column("name", "名称"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_sheet_is_read_in_each_encoding_with_its_lines(encoding: str, mark: str) -> None:
    text = f'编号{mark}名称\r\na{mark}"两\r\n行"\r\n\r\nb{mark}一行'
    sheet = read(text.encode(encoding), COLUMNS)
    assert [(line, cells["id"]) for line, cells in sheet.rows] == [(2, "a"), (5, "b")]
    assert sheet.encoding == ("gb18030" if encoding == "gb18030" else "utf-8")


@pytest.mark.parametrize(
    "raw",
    [
        "id,id\n1,2", "name\nx", "id,what\n1,2", 'id\n"x', "id\n" + "x" * 2001, "id\n1,2,3",
        "id\n" + "x\n" * 50_001, "编号,名称".encode("utf-16"), b"PK\x03\x04", b"\x81", b"id\x00",
        "編號,名稱\n1,2".encode("big5"),
    ],
)  # fmt: skip
def test_sheet_that_cannot_be_read_is_refused_with_what_to_do(raw: str | bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read(raw if isinstance(raw, bytes) else raw.encode(), COLUMNS)
    assert refused.value.words.zh and refused.value.words.en


def test_drawing_names_each_fault() -> None:
    assert [one.where for one in check_drawing({"width": True, "height": 1, "shapes": "x"})] == ["width", "shapes"]
    shape = {"kind": "road", "points": [[0, 0], [1, float("nan")]]}
    assert check_drawing({"width": 1, "height": 1, "shapes": [shape, {"kind": "x"}, {"kind": "road"}]})[0].where == (
        "shapes[0]"
    )
    assert next(iter(ORDER)) == "boundary"
