"""How long each class of personal data is kept: what stands here unless a community says otherwise, and why so long."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Retained:
    """`least`, `most`: days between which a community may choose; equal: it may not."""

    name: str
    label: Label
    days: int
    least: int
    most: int
    basis: Label


CLASSES: tuple[Retained, ...] = (
    Retained(
        "vitals",
        Label("体征读数（逐条）", "Vitals as they came"),
        90,
        7,
        400,
        Label("与本人平常比较需两周，追溯一个季度", "two weeks to compare with, a quarter to look back"),
    ),
    Retained(
        "positions",
        Label("佩戴者位置", "Where a wearer was"),
        30,
        1,
        90,
        Label("走失寻找所需，不留行踪", "to find somebody who is lost, not to keep where they went"),
    ),
    Retained(
        "vital_summaries",
        Label("体征按时、按日汇总", "Vitals by hour and day"),
        400,
        30,
        1830,
        Label("与去年同期比较", "to compare with the year before"),
    ),
    Retained(
        "health_events",
        Label("佩戴设备的事件（呼救、跌倒、摘下）", "Events of what is worn: SOS, fall, taken off"),
        730,
        90,
        1830,
        Label("处置过程的证据", "evidence of what was done"),
    ),
)
BY_NAME: dict[str, Retained] = {one.name: one for one in CLASSES}
