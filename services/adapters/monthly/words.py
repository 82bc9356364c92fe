"""What the report calls things, and every letter that it may need."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

from services.adapters.monthly.document import as_json
from services.domain.kpis.month import Month
from services.domain.kpis.span import SOURCES
from services.domain.vocabulary import SEVERITY_LABELS, TEAM_LABELS, Label, Severity, Team

STATES: dict[str, Label] = {
    "created": Label("待派单", "Created"),
    "dispatched": Label("已派单", "Dispatched"),
    "accepted": Label("已受理", "Accepted"),
    "arrived": Label("已到场", "On site"),
    "resolved": Label("已处置", "Resolved"),
    "verified": Label("已核查", "Verified"),
    "closed": Label("已结案", "Closed"),
    "paused": Label("暂停", "Paused"),
    "returned": Label("已退单", "Returned"),
    "cancelled": Label("已撤销", "Cancelled"),
    "false_alarm": Label("误报", "False alarm"),
    "merged": Label("已并单", "Merged"),
}
_OWN = (Path(__file__).with_name("pdf.py"), Path(__file__), Path(__file__).parents[2] / "domain" / "kpis" / "month.py")


def source(name: str) -> Label:
    return SOURCES.get(name, Label(name, name))


def state(name: str) -> Label:
    return STATES.get(name, Label(name, name))


def team(name: str) -> Label:
    return TEAM_LABELS[Team(name)] if name in list(Team) else Label(name, name)


def severity(name: str) -> Label:
    return SEVERITY_LABELS[Severity(name)] if name in list(Severity) else Label(name, name)


def letters(month: Month) -> Iterator[str]:
    """Every text that may stand in the PDF: what is reported, our own words, and figures."""
    yield as_json(month)
    yield string.printable
    yield from (path.read_text(encoding="utf-8") for path in _OWN)
    for label in (*TEAM_LABELS.values(), *SEVERITY_LABELS.values()):
        yield label.zh


def heading_letters(month: Month) -> Iterator[str]:
    """Those of headings, the title and figures."""
    yield month.community
    yield string.printable
    yield from _HEADINGS
    yield "工单运行月报—秒分小时天"


_HEADINGS = tuple(re.findall(r'_p\(f?"([^"]*)", (?:_HEAD|_TITLE)\)', _OWN[0].read_text(encoding="utf-8")))
