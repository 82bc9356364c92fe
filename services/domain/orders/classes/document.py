"""Classes of orders as people write them: plain values into classes, or everything that is wrong with them at once.

docs/orders-classes.md tells what stands in such a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from services.domain import calendar
from services.domain.devices import BY_NAME
from services.domain.engine.platform import PLATFORM
from services.domain.orders import working_time
from services.domain.orders.classes.classes import ALWAYS, NIGHTS, ClassClock, Classes, Match, OrderClass, Pause
from services.domain.orders.order import Source
from services.domain.orders.pauses import REASONS
from services.domain.orders.states import Move
from services.domain.orders.terms import CLOCKS, Rung, Span, Step
from services.domain.rules.faults import Fault, Faults, Path
from services.domain.rules.fields import BAD, read, read_parts
from services.domain.rules.spans import read_span
from services.domain.vocabulary import Label, Severity

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
RUNGS: Mapping[str, Rung] = {rung.name.lower(): rung for rung in Rung if rung is not Rung.TEAM}
NEEDS = ("reason", "note", "place", "on_site", "photo_before", "photo_after", "signature", "other_person")
MOVES = tuple(
    move.value
    for move in (
        Move.ACCEPT, Move.ARRIVE, Move.RESOLVE, Move.VERIFY, Move.CLOSE, Move.RETURN, Move.TRANSFER, Move.PAUSE,
        Move.RESUME, Move.REOPEN, Move.CANCEL, Move.FALSE_ALARM,
    )
)  # fmt: skip
"""Moves that people make, and so moves that may ask something of them."""
_ONLY: Mapping[str, tuple[str, ...]] = {"on_site": (Move.ARRIVE.value,)}
"""Needs that can be met by these moves alone: a presence is proved when somebody arrives, and at no other time."""
MOST_CLASSES = 100
MOST_SPANS = 20
LEAST_AGAIN_S = 60.0
FARTHEST = timedelta(days=366)
"""No clock with its ladder may take longer than this by the calendar on the wall."""
_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_ZONE = "Asia/Shanghai"
_TOP = ("calendars", "nights", "classes")


@dataclass(frozen=True, slots=True)
class Document:
    """`classes` None: there are faults, and nothing of it is to be used."""

    classes: Classes | None
    faults: tuple[Fault, ...]


def read_classes(given: Any) -> Document:
    faults = Faults([])
    if not isinstance(given, Mapping):
        faults.add((), "应为 classes 等字段", "expected classes, and calendars where there are any")
        return Document(None, tuple(faults.found))
    for key in given:
        if key not in _TOP:
            faults.unknown((key,), Label("字段", "field"), key, _TOP)
    calendars = _calendars(given.get("calendars"), faults)
    nights = _nights(given, faults)
    listed = given.get("classes")
    if not isinstance(listed, list) or not listed:
        here: Path = ("classes",) if "classes" in given else ()
        faults.add(here, "应为工单类别列表 classes", "classes: expected a list of classes")
        return Document(None, tuple(faults.found))
    if len(listed) > MOST_CLASSES:
        faults.add(("classes",), f"超过 {MOST_CLASSES} 类", f"more than {MOST_CLASSES} classes")
        return Document(None, tuple(faults.found))
    found = [_class(one, calendars, ("classes", index), faults) for index, one in enumerate(listed)]
    classes = [one for one in found if one is not None]
    _no_twins(listed, faults)
    if len(classes) == len(listed):
        _check_order(classes, faults)
    if faults.found:
        return Document(None, tuple(faults.found))
    spans = {name: one for name, one in calendars.items() if one is not None}
    return Document(Classes(tuple(classes), spans, nights), ())


def _calendars(given: Any, faults: Faults) -> dict[str, tuple[Span, ...] | None]:
    """By name; None: it is there, and faulty."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        faults.add(("calendars",), "应为“名称: 时段列表”", "expected names with lists of hours")
        return {}
    found: dict[str, tuple[Span, ...] | None] = {}
    for name, listed in given.items():
        path: Path = ("calendars", name)
        found[str(name)] = _spans(listed, path, faults)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            faults.add(path, "名称由小写字母、数字与 _ 组成", "a name is small letters, digits and _, a letter first")
        if name == ALWAYS:
            faults.add(path, f"{ALWAYS} 即全天候，不能另定", f"{ALWAYS} is around the clock and cannot be another")
    return found


def _spans(listed: Any, path: Path, faults: Faults) -> tuple[Span, ...] | None:
    if not isinstance(listed, list) or not listed:
        faults.add(
            path, "没有工作时段；全天候请用 always", "there is no working time in it; around the clock is `always`"
        )
        return None
    if len(listed) > MOST_SPANS:
        faults.add(path, f"超过 {MOST_SPANS} 个时段", f"more than {MOST_SPANS} stretches")
        return None
    spans = [_span(one, (*path, index), faults) for index, one in enumerate(listed)]
    sound = tuple(one for one in spans if one is not None)
    return sound if len(sound) == len(spans) else None


def _span(given: Any, path: Path, faults: Faults) -> Span | None:
    span = read(Span, given, path, faults)
    if span is BAD:
        return None
    try:
        calendar.check_days(span.days)
    except ValueError as error:
        faults.add((*path, "days"), f"没有这样的日子：{span.days}", str(error))
        return None
    if span.from_hour >= 24:
        faults.add((*path, "from"), "开始时刻须早于 24:00", "it begins before 24:00")
        return None
    return Span(span.days, span.from_hour, span.to_hour)


def _nights(given: Mapping[str, Any], faults: Faults) -> Span:
    usual = NIGHTS
    if "nights" not in given:
        return usual
    return _span(given["nights"], ("nights",), faults) or usual


def _class(
    given: Any, calendars: Mapping[str, tuple[Span, ...] | None], path: Path, faults: Faults
) -> OrderClass | None:
    before = len(faults.found)
    read_by_hand = frozenset({"match", "clocks", "needs", "pause"})
    parts = read_parts(OrderClass, given, path, faults, besides=read_by_hand, without=read_by_hand)
    if not isinstance(given, Mapping):
        return None
    if "id" in parts and not NAME.fullmatch(parts["id"]):
        faults.add(
            (*path, "id"),
            "id 由小写字母、数字与 _ 组成，以字母开头",
            "an id is small letters, digits and _, a letter first",
        )
    for language in ("zh", "en") if "title" in parts else ():
        if not getattr(parts["title"], language).strip():
            faults.add((*path, "title", language), "名称不能为空", "a title must not be empty")
    if not 1 <= parts.get("offer", 3) <= 20:
        faults.add((*path, "offer"), "offer 须在 1 到 20 之间", "offer lies between 1 and 20")
    name = parts.get("calendar", ALWAYS)
    if name != ALWAYS and name not in calendars:
        faults.unknown((*path, "calendar"), Label("日历", "calendar"), name, (ALWAYS, *calendars))
    spans = () if name == ALWAYS else calendars.get(name)
    match = _match(given, path, faults)
    clocks = _clocks(given, spans, path, faults)
    needs = _needs(given.get("needs"), (*path, "needs"), faults)
    pause = _pause(given.get("pause"), (*path, "pause"), faults)
    if len(faults.found) > before:
        return None
    return OrderClass(**{**parts, "match": match, "clocks": clocks, "needs": needs, "pause": pause})


def _match(given: Mapping[str, Any], path: Path, faults: Faults) -> tuple[Match, ...]:
    if "match" not in given:
        return ()
    here = (*path, "match")
    single = not isinstance(given["match"], list)
    listed: list[Any] = [given["match"]] if single else given["match"]
    if not listed:
        faults.add(here, "列表为空", "the list is empty")
    found: list[Match] = []
    for index, one in enumerate(listed):
        at = here if single else (*here, index)
        match = read(Match, one, at, faults)
        if match is BAD:
            continue
        _check_names(
            match.sources, [source.value for source in Source], Label("来源", "source"), (*at, "sources"), faults
        )
        kinds = [*BY_NAME, PLATFORM.name]
        _check_names(match.kinds, kinds, Label("设备类型", "device kind"), (*at, "kinds"), faults)
        if match.fits_all:
            faults.add(
                at, "没有条件；适用于其余全部工单的类别不写 match", "it says nothing; leave match out to fit all"
            )
        found.append(match)
    return tuple(found)


def _check_names(given: Iterable[str], known: Iterable[str], what: Label, path: Path, faults: Faults) -> None:
    names = list(known)
    for index, one in enumerate(given):
        if one not in names:
            faults.unknown((*path, index), what, one, names)


def _clocks(
    given: Mapping[str, Any], spans: tuple[Span, ...] | None, path: Path, faults: Faults
) -> dict[str, ClassClock]:
    here = (*path, "clocks")
    clocks = given.get("clocks")
    if not isinstance(clocks, Mapping):
        if "clocks" in given:
            faults.add(here, "应为“时限: {…}”", "expected clocks with their times")
        return {}
    found: dict[str, ClassClock] = {}
    for name, one in clocks.items():
        if name not in CLOCKS:
            faults.unknown((*here, name), Label("时限", "clock"), name, CLOCKS)
            continue
        clock = _clock(one, spans, (*here, name), faults)
        if clock is not None:
            found[name] = clock
    for name in ("accept", "resolve", "verify"):
        if name not in clocks:
            faults.add(
                here,
                f"缺少 {name}：每类工单都要有人接、有人办、有人核查",
                f"{name} is missing: every order has that clock",
            )
    for name, clock in found.items():
        if clock.again_s and name != "accept":
            faults.add((*here, name, "again"), "again 只能用于 accept", "again is of the accept clock alone")
    return {name: found[name] for name in CLOCKS if name in found}


def _clock(given: Any, spans: tuple[Span, ...] | None, path: Path, faults: Faults) -> ClassClock | None:
    before = len(faults.found)
    ladders = frozenset({"ladder", "nights"})
    parts = read_parts(ClassClock, given, path, faults, besides=ladders, without=ladders)
    if not isinstance(given, Mapping):
        return None
    ladder = _ladder(given.get("ladder"), (*path, "ladder"), faults)
    nights = _ladder(given.get("nights"), (*path, "nights"), faults)
    if "due_s" in parts and not parts["due_s"] >= 1:
        faults.add((*path, "due"), "时限至少 1s", "a clock takes at least 1s")
    elif parts.get("warn_s", 0) and parts["warn_s"] >= parts.get("due_s", float("inf")):
        faults.add((*path, "warn"), "预警须短于时限", "the warning comes before the clock runs out, after it began")
    if parts.get("again_s") and not LEAST_AGAIN_S <= parts["again_s"] <= FARTHEST.total_seconds() / 24:
        faults.add((*path, "again"), "须在 1m 到 15d 之间", "it lies between 1m and 15d")
    if nights and not ladder:
        faults.add((*path, "nights"), "有夜间阶梯而无日间阶梯", "there is a ladder by night and none by day")
    if len(faults.found) > before:
        return None
    clock = ClassClock(parts["due_s"], parts.get("warn_s", 0.0), ladder, nights, parts.get("again_s", 0.0))
    if spans is not None:
        _check_reach(clock, spans, path, faults)
    return clock if len(faults.found) == before else None


def _check_reach(clock: ClassClock, spans: tuple[Span, ...], path: Path, faults: Faults) -> None:
    longest = clock.due_s + max((step.after_s for step in (*clock.ladder, *clock.nights)), default=0.0)
    try:
        end = working_time.add(spans, _ZONE, _FROM, longest)
    except working_time.NoWorkingTime:
        end = datetime.max.replace(tzinfo=UTC)
    if end - _FROM > FARTHEST:
        faults.add(
            path,
            "按该日历计，此时限及其升级超过一年",
            "by its calendar this clock with its ladder takes more than a year",
        )


def _ladder(given: Any, path: Path, faults: Faults) -> tuple[Step, ...]:
    """{rung: after}, from the lowest rung to the highest."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        faults.add(path, "应为“级别: 时长”", "expected rungs with spans: {leader: 0s, desk: 5m}")
        return ()
    found: dict[Rung, float] = {}
    for name, after in given.items():
        if name not in RUNGS:
            faults.unknown((*path, name), Label("级别", "rung"), name, RUNGS)
            continue
        seconds = read_span(after)
        if seconds is None or not 0 <= seconds <= FARTHEST.total_seconds():
            faults.add((*path, name), "应为 0 到 366d 的时长", "expected a span from 0 to 366d: 90s, 5m, 12h")
            continue
        found[RUNGS[name]] = seconds
    steps = tuple(Step(found[rung], rung) for rung in sorted(found))
    for lower, higher in pairwise(steps):
        if higher.after_s < lower.after_s:
            said = higher.rung.name.lower()
            faults.add((*path, said), "上级不能早于下级", f"{said} comes before the rung below it")
    return steps


def _needs(given: Any, path: Path, faults: Faults) -> dict[str, tuple[str, ...]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        faults.add(path, "应为“动作: [要求]”", "expected moves with what they need: {resolve: [photo_after]}")
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for move, names in given.items():
        if move not in MOVES:
            faults.unknown((*path, move), Label("动作", "move"), move, MOVES)
        elif not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            faults.add((*path, move), "应为列表 [photo_after]", "expected a list: [photo_after]")
        else:
            _check_names(names, NEEDS, Label("要求", "need"), (*path, move), faults)
            for index, name in enumerate(names):
                if name in _ONLY and move not in _ONLY[name]:
                    faults.add(
                        (*path, move, index),
                        f"{name} 只能用于 {'、'.join(_ONLY[name])}：在“{move}”时无法满足，工单会卡住",
                        f"{name} can be asked of {', '.join(_ONLY[name])} only: at {move} nobody could ever satisfy it",
                    )
            found[move] = tuple(dict.fromkeys(names))
    return found


def _pause(given: Any, path: Path, faults: Faults) -> Pause:
    if given is None:
        return Pause()
    pause = read(Pause, given, path, faults)
    if pause is BAD:
        return Pause()
    _check_names(pause.reasons, REASONS, Label("暂停原因", "reason to pause"), (*path, "reasons"), faults)
    if pause.longest_s and not pause.reasons:
        faults.add((*path, "longest"), "没有允许的暂停原因", "there is no reason for which it may be paused")
    if pause.reasons and not pause.longest_s:
        faults.add(path, "暂停须有最长时限 longest", "a pause needs its longest, or it might never end")
    found: Pause = pause
    return found


def _no_twins(listed: list[Any], faults: Faults) -> None:
    seen: dict[str, int] = {}
    for index, one in enumerate(listed):
        name = one.get("id") if isinstance(one, Mapping) else None
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            faults.add(
                ("classes", index, "id"),
                f"{name} 已用于 classes[{seen[name]}]",
                f"{name} is classes[{seen[name]}] already",
            )


def _check_order(classes: list[OrderClass], faults: Faults) -> None:
    """Every order falls into a class, each class can be reached, and what is critical is never left to office hours."""
    last = len(classes) - 1
    for index, one in enumerate(classes):
        if not one.match and index < last:
            faults.add(
                ("classes", index),
                f"{one.id} 适用于一切工单，其后的类别永远用不到",
                f"{one.id} fits every order: no class after it is ever reached",
            )
            return
    if classes[last].match:
        faults.add(
            ("classes", last, "match"),
            "最后一类须适用于其余一切工单：不写 match",
            "the last class takes every order that is left: leave match out",
        )
    for index, one in enumerate(classes):
        if _may_be_critical(one):
            _check_critical(one, ("classes", index), faults)
        if any(match == Match(severity=match.severity) and Severity.CRITICAL in match.severity for match in one.match):
            return


def _may_be_critical(one: OrderClass) -> bool:
    return not one.match or any(not match.severity or Severity.CRITICAL in match.severity for match in one.match)


def _check_critical(one: OrderClass, path: Path, faults: Faults) -> None:
    if one.calendar != ALWAYS:
        faults.add(
            (*path, "calendar"),
            f"{one.id} 可能含紧急（critical）工单，须全天候 always",
            f"critical orders may fall into {one.id}: its calendar has to be always",
        )
    if not one.clocks["accept"].ladder:
        faults.add(
            (*path, "clocks", "accept"),
            f"{one.id} 可能含紧急（critical）工单，接单须有升级阶梯",
            f"critical orders may fall into {one.id}: its accept clock needs a ladder",
        )
    if one.needs.get(Move.ACCEPT.value):
        faults.add(
            (*path, "needs", Move.ACCEPT.value),
            f"{one.id} 可能含紧急（critical）工单，接单不得附加要求",
            f"critical orders may fall into {one.id}: whoever comes to help is asked for nothing to accept them",
        )
