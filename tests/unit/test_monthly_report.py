"""The monthly report without a database: its font, its sentences, and what it says of nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

from services.adapters.monthly import fonts
from services.adapters.monthly.document import as_json, digest, from_json
from services.adapters.monthly.fonts import NoFont, font_files, make_font
from services.domain.kpis import Tally
from services.domain.kpis.month import Cover, Group, Month, change, conclusions_of, duration, group_of, lines_of, number
from services.domain.vocabulary import Label


def month(now: Tally, before: Tally | None = None, **more: object) -> Month:
    day = group_of("2026-10-05", Label("5日", "5"), now)
    return Month(
        community="公园社区",
        street="甘棠街道",
        month="2026-10",
        timezone="Asia/Shanghai",
        households=2510,
        made_at=datetime(2026, 11, 1, tzinfo=UTC),
        lines=lines_of(now, before or Tally()),
        days=(day,),
        **more,  # type: ignore[arg-type]
    )


VECTOR = Tally(
    {"received": 1054, "filed": 996, "due": 972, "due_not_deferred": 972, "closed": 911, "closed_on_time": 737}
)


def test_sentences_carry_the_counts_they_rest_on() -> None:
    told = conclusions_of(month(VECTOR, Tally({"received": 1000, "due": 900, "closed": 900})))
    assert told[0].zh.startswith("本月受理 1054 件（较上月增加 5.4%），立案 996 件")
    assert "结案率 93.72%（911/972，环比降 6.28 个百分点）" in told[1].zh
    assert "按期结案率 75.82%（737/972，上月无数据）" in told[1].zh
    # Nothing was counted of speed, ratings and rework, so nothing is said of them; of 996 filed none was returned.
    assert [one.zh for one in told[2:]] == ["退单率 0.00%（0/996，上月无数据）。"]


def test_of_equals_all_are_named_and_none_is_called_the_most() -> None:
    days = tuple(
        group_of(f"2026-10-0{number}", Label("", ""), Tally({"received": count}))
        for number, count in enumerate((3, 7, 7), start=1)
    )
    rules = tuple(
        Group(name, Label(name, name), {"false_alarm": false, "alert_ended": 9.0, "false_alarms": false / 9 * 100})
        for name, false in (("A", 3.0), ("B", 3.0))
    )
    told = " ".join(one.zh for one in conclusions_of(replace(month(VECTOR), days=days, rules=rules)))
    assert "2026-10-02、2026-10-03，各 7 件" in told
    assert "误报最多" not in told
    told = " ".join(one.zh for one in conclusions_of(replace(month(VECTOR), rules=rules[:1])))
    assert "误报最多的规则是A：3 件，占其已终结工单的 33.33%" in told


def test_cover_of_the_roster_is_said_where_there_is_one_and_never_rounded_up_to_full() -> None:
    def said(*cover: Cover) -> str:
        return " ".join(one.zh for one in conclusions_of(replace(month(VECTOR), cover=cover)))

    desk, patrol = Label("社区值班", "Desk"), Label("巡查队", "Patrol")
    assert "排班" not in said()
    assert "须有人值班 744 小时，已排班 100.00%，没有空班" in said(Cover(desk, 744 * 3600, 744 * 3600))
    assert "1,488 小时，已排班 99.19%；空班最多的是巡查队，12.0 小时" in said(
        Cover(desk, 744 * 3600, 744 * 3600), Cover(patrol, 744 * 3600, 732 * 3600)
    )
    assert "已排班 99.99%；" in said(Cover(desk, 744 * 3600, 744 * 3600 - 1))


def test_empty_month_says_so_and_nothing_else() -> None:
    told = conclusions_of(month(Tally({"received": 0}), VECTOR))
    assert [one.en for one in told] == ["No orders were received this month; there are no rates."]


def test_numbers_are_written_for_people() -> None:
    assert [number(None, "%"), number(93.724, "%"), number(1054, "件"), number(4.333, "分")] == [
        "—",
        "93.72%",
        "1,054",
        "4.33",
    ]
    assert [duration(s) for s in (9.4, 60, 5400, 7200, 86_400 * 3)] == [
        "9 秒",
        "1.0 分",
        "1.5 小时",
        "2.0 小时",
        "3.0 天",
    ]
    assert change(5, 0, "件").en == "none last month"
    assert change(50.0, 50.001, "%").en == "as last month"


def test_content_marks_the_same_report_whenever_it_is_made() -> None:
    one = month(VECTOR)
    assert from_json(as_json(one)) == one
    assert digest(one, "pdf") == digest(replace(one, made_at=datetime(2027, 1, 1, tzinfo=UTC)), "pdf")
    assert digest(one, "pdf") != digest(one, "xlsx") != digest(month(Tally({"received": 1})), "xlsx")


def small_font(path: Path, letters: str, em: int = 2048) -> Path:
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((em, 0), (em, em), (0, em)):
        pen.lineTo(point)
    pen.closePath()
    glyph = pen.glyph()
    names = [".notdef", *(f"g{number}" for number in range(len(letters)))]
    builder = FontBuilder(em, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"g{number}" for number, letter in enumerate(letters)})
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (em, 0)))
    builder.setupHorizontalHeader(ascent=em, descent=0)
    builder.setupNameTable({"familyName": "Small", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def test_font_has_exactly_the_letters_and_is_joined_from_pieces(tmp_path: Path) -> None:
    pieces = [small_font(tmp_path / "a.ttf", "月报 1"), small_font(tmp_path / "b.ttf", "结案A", em=1000)]
    made = TTFont(io.BytesIO(make_font(["月结1没"], 400, "Joined", pieces)))
    assert sorted(map(chr, made.getBestCmap())) == sorted(" 月结1")  # 没 is in neither piece
    assert made["hmtx"]["u6708"][0] == made["hmtx"]["u7ED3"][0] == 1000


def test_font_that_is_missing_or_knows_no_chinese_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "SYSTEM", ())
    with pytest.raises(NoFont, match="LINHUB_REPORT_FONT"):
        font_files(400, tmp_path, {})
    with pytest.raises(NoFont, match="no such file"):
        font_files(400, tmp_path, {"LINHUB_REPORT_FONT": str(tmp_path / "none.ttf")})
    with pytest.raises(NoFont, match="no Chinese"):
        make_font(["月"], 400, "X", [small_font(tmp_path / "latin.ttf", "abc")])
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(NoFont, match="not a font"):
        make_font(["月"], 400, "X", [tmp_path / "broken.ttf"])
