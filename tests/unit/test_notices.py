"""Who is told, in which words, when: the pure half of notices, and properties that hold for whatever comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from string import Formatter
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.notices.carrier import gateway_address, redacted
from services.domain.ids import CommunityId, OrderId
from services.domain.notices import (
    RETRIES,
    TEMPLATES,
    Account,
    AlertFacts,
    ChannelSort,
    Event,
    Follower,
    OrderFacts,
    audience,
    bundles,
    mask,
    may_add,
    parse_address,
    quiet_until,
    render,
    retry_after_s,
    templates_ended_by,
)
from services.domain.notices.templates import digest
from services.domain.notices.timing import SINGLES
from services.domain.orders import Draft, Entry, Mode, Move, OrderState, Source, created, fold
from services.domain.vocabulary import Label, Role, Severity, Team

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ACCOUNTS = (
    Account("admin", Role.ADMIN, None),
    Account("desk", Role.DESK, Team.DESK),
    Account("grid1", Role.GRID, Team.GRID, grid_id="g1"),
    Account("grid2", Role.GRID, Team.GRID, grid_id="g2"),
    Account("p1", Role.STAFF, Team.PATROL),
    Account("p2", Role.STAFF, Team.PATROL),
    Account("street", Role.STREET, Team.STREET),
    Account("home", Role.RESIDENT, None, household_id="h1"),
)


def order_event(
    move: Move,
    *,
    severity: Severity = Severity.CRITICAL,
    team: Team = Team.PATROL,
    health: bool = False,
    actor: str = "system",
    detail: dict[str, Any] | None = None,
    reason: str | None = None,
    reached: tuple[str, ...] = (),
    reporters: tuple[str, ...] = (),
    **more: Any,
) -> tuple[Event, OrderFacts]:
    draft = Draft(
        id=OrderId(UUID(int=1)),
        community_id=CommunityId("c"),
        source=Source.ALERT,
        kind="gas_alarm",
        severity=severity,
        title=Label("血压过高", "Blood pressure"),
        team=team,
        correlation="d@1",
        place="1号楼",
        grid_id="g1",
    )
    order = fold([created(draft, NOW, "system", "system")])
    for name, value in more.items():
        object.__setattr__(order, name, value)
    entry = Entry(2, move, OrderState.CREATED, OrderState.DISPATCHED, NOW, actor, "system", reason, detail or {})
    data = {"order_id": str(order.id), "version": 2}
    event = Event(7, f"order.{move.value}", "c", str(order.id), "d@1", data)
    followers = tuple(Follower(UUID(int=n), 31 + n, f"account:{one}", NOW) for n, one in enumerate(reporters))
    return event, OrderFacts(order, 12, entry, health, reached, followers)


def told(move: Move, **more: Any) -> list[tuple[str, str]]:
    event, facts = order_event(move, **more)
    return [(one.recipient.removeprefix("account:"), one.template) for one in audience(event, ACCOUNTS, order=facts)]


@pytest.mark.parametrize(
    ("move", "more", "expected"),
    [
        (Move.DISPATCH, {"detail": {"people": ["p2", "p1"]}}, [("p2", "dispatch"), ("p1", "dispatch")]),
        (Move.DISPATCH, {"detail": {"assignee_id": "p2"}}, [("p2", "dispatch")]),
        (Move.DISPATCH, {"reached": ("p2",)}, [("p2", "dispatch")]),
        (Move.DISPATCH, {}, [("p1", "dispatch"), ("p2", "dispatch")]),
        (Move.DISPATCH, {"team": Team.GRID}, [("grid1", "dispatch")]),
        (Move.DISPATCH, {"team": Team.STREET}, [("street", "dispatch")]),
        (Move.DISPATCH, {"team": Team.CLEANING}, [("desk", "dispatch")]),
        (Move.ASSIGN, {"detail": {"assignee_id": "p1"}, "actor": "desk"}, [("p1", "assign")]),
        (Move.ASSIGN, {"detail": {"assignee_id": "p1"}, "actor": "p1"}, []),
        (Move.WARN, {"assignee_id": "p1"}, [("p1", "warn")]),
        (Move.WARN, {"offered": ("p2",)}, [("p2", "warn")]),
        (Move.BREACH, {"detail": {"people": ["street"]}}, [("street", "breach")]),
        (Move.ESCALATE, {"detail": {"people": ["desk"], "rung": 2}}, [("desk", "escalate")]),
        (Move.ESCALATE, {"detail": {"rung": 3}}, [("street", "escalate")]),
        (Move.ESCALATE, {"detail": {"rung": 1}}, [("p1", "escalate"), ("p2", "escalate")]),
        (Move.RESUME, {"detail": {"alert_id": "a1"}, "assignee_id": "p2"}, [("p2", "resume")]),
        (Move.RESUME, {"assignee_id": "p2"}, []),
        (Move.RETURN, {"actor": "p1"}, [("desk", "return")]),
        (Move.RESOLVE, {"actor": "p1"}, [("desk", "verify"), ("grid1", "verify")]),
        (Move.URGE, {"assignee_id": "p2", "actor": "desk"}, [("p2", "urge")]),
        (Move.REOPEN, {"assignee_id": "p2", "actor": "desk"}, [("p2", "reopen")]),
        (Move.CANCEL, {"assignee_id": "p2", "actor": "desk"}, [("p2", "over")]),
        (Move.CANCEL, {"actor": "desk"}, []),
        (Move.ACCEPT, {"actor": "p1"}, []),
        (Move.ACCEPT, {"actor": "p1", "reporters": ("home",)}, [("home", "report")]),
        (Move.CLOSE, {"reporters": ("home", "p1"), "actor": "p1"}, [("home", "report")]),
        (Move.CREATE, {"reporters": ("home",)}, []),
        (Move.DISPATCH, {"detail": {"people": ["p2"]}, "reporters": ("home",)}, [("p2", "dispatch")]),
        (
            Move.DISPATCH,
            {"detail": {"people": ["p2"]}, "reporters": ("home", "home"), "filed_at": NOW},
            [("p2", "dispatch"), ("home", "report")],
        ),
        (Move.MERGE, {"reporters": ("home",), "actor": "desk"}, [("home", "report")]),
        (Move.ESCALATE, {"detail": {"people": ["desk"]}, "reporters": ("home",)}, [("desk", "escalate")]),
        (Move.REPEAT, {"reporters": ("home",)}, []),
        (Move.NOTE, {}, []),
    ],
)
def test_audience_of_each_move(move: Move, more: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert told(move, **more) == expected


def test_audience_of_critical_is_everybody_at_once_and_of_others_in_turn() -> None:
    for severity, mode, waits in (
        (Severity.CRITICAL, Mode.TEAM, [0, 0]),
        (Severity.MAJOR, Mode.TEAM, [0, 120]),
        (Severity.MINOR, Mode.TEAM, [0, 300]),
        (Severity.MAJOR, Mode.GRAB, [0, 0]),
    ):
        event, facts = order_event(Move.DISPATCH, severity=severity, mode=mode)
        assert [one.wait_s for one in audience(event, ACCOUNTS, order=facts)] == waits


def test_reporter_reads_their_own_number_and_the_reason_only_where_it_is_meant_for_them() -> None:
    for source, health, expected in (
        (Source.RESIDENT, False, "您的上报 31：不予立案。原因：已联系主人（血压过高）"),
        (Source.RESIDENT, True, "您的上报 31：不予立案。（健康关怀）"),
        (Source.ALERT, False, "您的上报 31：不予立案。（血压过高）"),
    ):
        event, facts = order_event(
            Move.CANCEL, actor="desk", reason="已联系主人", reporters=("home",), source=source, health=health
        )
        (draft,) = audience(event, ACCOUNTS, order=facts)
        _, body = render(TEMPLATES[draft.template], draft.params, draft.severity, "zh", "Asia/Shanghai")
        assert body == expected


def test_reporter_is_not_told_of_what_was_before_their_report() -> None:
    event, facts = order_event(Move.ACCEPT, actor="p1")
    late = replace(facts, reporters=(Follower(UUID(int=1), 5, "report:x", NOW + timedelta(seconds=1)),))
    assert audience(event, ACCOUNTS, order=late) == []
    now = replace(facts, reporters=(Follower(UUID(int=1), 5, "report:x", NOW),))
    assert [one.recipient for one in audience(event, ACCOUNTS, order=now)] == ["report:x"]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("unsatisfied", [("account:desk", "unsatisfied")]),
        ("urged", [("account:desk", "urged")]),
        ("joined", [("account:home", "report")]),
        ("created", []),
        ("withdrawn", []),
    ],
)
def test_audience_of_what_a_reporter_says(what: str, expected: list[tuple[str, str]]) -> None:
    _, facts = order_event(Move.NOTE, reporters=("home", "p1"))
    event = Event(8, f"report.{what}", "c", "r", "d@1", {"report_id": str(UUID(int=0)), "rating": 1})
    drafts = audience(event, ACCOUNTS, order=facts)
    assert [(one.recipient, one.template) for one in drafts] == expected
    assert all(one.severity.rank <= Severity.MAJOR.rank for one in drafts)


def test_verification_of_a_critical_order_wakes_nobody() -> None:
    event, facts = order_event(Move.RESOLVE, severity=Severity.CRITICAL)
    assert {one.severity for one in audience(event, ACCOUNTS, order=facts)} == {Severity.MAJOR}


@given(
    st.sampled_from(list(Move)),
    st.sampled_from(list(Severity)),
    st.sampled_from(list(Team)),
    st.lists(st.sampled_from([one.id for one in ACCOUNTS]), max_size=4),
    st.booleans(),
    st.text(max_size=30),
)
def test_audience_tells_each_person_once_and_nothing_of_health(
    move: Move, severity: Severity, team: Team, people: list[str], health: bool, reason: str
) -> None:
    event, facts = order_event(
        move,
        severity=severity,
        team=team,
        health=health,
        reason=f"心率{reason}",
        detail={"people": people, "note": "心率"},
        reporters=("home",),
    )
    drafts = audience(event, ACCOUNTS, order=facts)
    again = audience(event, ACCOUNTS, order=facts)
    assert [one.id for one in drafts] == [one.id for one in again]
    assert len({one.id for one in drafts}) == len(drafts)
    assert max(Counter((one.recipient, one.template) for one in drafts).values(), default=0) <= 1
    for one in drafts:
        assert one.severity.rank <= severity.rank or one.template == "report"
        for language in ("zh", "en"):
            title, body = render(TEMPLATES[one.template], one.params, one.severity, language, "Asia/Shanghai")
            assert title and "{" not in title
            if health:
                assert "血压" not in title + body and "Blood" not in title + body and "心率" not in title + body
                assert "健康关怀" in title + body or "Wellbeing" in title + body


def test_moves_on_the_ladder_always_find_somebody() -> None:
    """With nobody but an administrator in the community, somebody is told of everything that needs somebody."""
    alone = (Account("admin", Role.ADMIN, None),)
    for move in (Move.DISPATCH, Move.ESCALATE, Move.RETURN, Move.RESOLVE, Move.WARN, Move.BREACH, Move.URGE):
        for team in Team:
            for rung in range(5):
                event, facts = order_event(move, team=team, detail={"rung": rung})
                assert [one.recipient for one in audience(event, alone, order=facts)] == ["account:admin"], (move, team)


def test_plan_notice_about_health_does_not_carry_the_plans_words() -> None:
    alert = AlertFacts(uuid4(), Severity.CRITICAL, Label("心率过快", "Heart rate"), "1号楼", True)
    data = {
        "alert_id": str(alert.id),
        "step": "family",
        "text": {"zh": "心率过快", "en": "Heart rate"},
        "recipients": [
            {"id": "1", "user": True},
            {"id": "2", "user": False},
            {"id": "3", "user": False, "contact": True},
        ],
    }
    drafts = audience(Event(9, "notice.requested", "c", "run", "", data), ACCOUNTS, alert=alert)
    assert [one.recipient for one in drafts] == ["account:1", "person:2", "contact:3"]
    assert "心率" not in str([one.params for one in drafts]) and "Heart" not in str([one.params for one in drafts])
    later = Event(9, "notice.requested", "c", "run", "", data | {"step": "other"})
    assert not {one.id for one in drafts} & {one.id for one in audience(later, ACCOUNTS, alert=alert)}


def test_question_goes_to_everybody_at_home_and_their_contacts() -> None:
    alert = AlertFacts(uuid4(), Severity.MAJOR, Label("久未活动", "No movement"), "1号楼", False, "h1", ("contact:x",))
    event = Event(9, "alert.ask", "c", str(alert.id), "", {"household_id": "h1", "until": NOW.isoformat()})
    drafts = audience(event, ACCOUNTS, alert=alert)
    assert [one.recipient for one in drafts] == ["account:home", "contact:x"]


def test_gap_of_the_roster_is_told_to_the_desk_in_the_communitys_time() -> None:
    data = {"team": "patrol", "from": "2026-11-22T22:00:00+00:00", "to": "2026-11-23T06:00:00+00:00", "soon": False}
    (one,) = audience(Event(9, "roster.gap", "c", "roster:patrol", "", data), ACCOUNTS)
    assert one.recipient == "account:desk"
    assert (
        "防控巡查队 11-23 06:00 至 11-23 14:00 无人值班"
        in render(TEMPLATES["roster"], one.params, one.severity, "zh", "Asia/Shanghai")[1]
    )


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_template_speaks_both_languages_with_the_same_places(template: str) -> None:
    one = TEMPLATES[template]
    for label in (one.subject, *one.lines):
        places = [{field for _, field, _, _ in Formatter().parse(text) if field} for text in (label.zh, label.en)]
        assert places[0] == places[1] and label.zh and label.en


def test_every_template_of_an_order_ends_when_the_order_is_over() -> None:
    ended = set(templates_ended_by("cancel"))
    assert {"dispatch", "assign", "warn", "breach", "escalate", "return", "verify", "urge", "reopen"} <= ended
    assert "over" not in ended and "dispatch" in templates_ended_by("accept") and templates_ended_by("note") == []


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
)
def test_quiet_hours_end_at_their_end_and_within_a_day(now: datetime, start: time, end: time) -> None:
    until = quiet_until(now, start, end, "Asia/Shanghai")
    zone = ZoneInfo("Asia/Shanghai")
    minutes = [(now + timedelta(minutes=one)).astimezone(zone).time() for one in range(0, 1441)]
    inside = start <= minutes[0] < end if start < end else (start != end and (minutes[0] >= start or minutes[0] < end))
    assert (until is not None) == inside
    if until is not None:
        assert now <= until <= now + timedelta(days=1)
        assert until.astimezone(zone).time() == end
        assert quiet_until(until, start, end, "Asia/Shanghai") is None


@given(st.lists(st.sampled_from(list(Severity)), max_size=40), st.integers(0, 6))
def test_bundles_lose_nothing_and_hold_back_nothing_critical(due: list[Severity], lately: int) -> None:
    made = bundles(due, lately)
    assert sorted(made.singles + made.together + made.wait) == list(range(len(due)))
    critical = {place for place, one in enumerate(due) if one is Severity.CRITICAL}
    assert critical <= set(made.singles)
    plain = len(set(made.singles) - critical) + bool(made.together)
    assert plain + lately <= max(SINGLES, lately)
    assert not (made.wait and lately == 0)


def test_retries_grow_and_end() -> None:
    for severity in Severity:
        waits: list[float] = []
        while (wait := retry_after_s(severity, len(waits) + 1)) is not None:
            waits.append(wait)
        assert waits == sorted(waits) and waits == list(RETRIES[severity is Severity.CRITICAL])


@given(st.sampled_from(list(ChannelSort)), st.text(max_size=60))
def test_addresses_are_taken_or_refused_in_words_and_masked(sort: ChannelSort, text: str) -> None:
    address = parse_address(sort, text)
    if isinstance(address, Label):
        assert address.zh and address.en
    else:
        assert len(address) < 8 or mask(sort, address) != address


def test_addresses_keep_their_secrets() -> None:
    for sort, address, secret in (
        (ChannelSort.DINGTALK, "dingtalk://SECRETSECRET@abcdefabcdef/13800138000", "SECRET"),
        (ChannelSort.WECOM, "wecombot://0123456789abcdef", "0123456789"),
        (ChannelSort.FEISHU, "lark://tokentoken", "token"),
        (ChannelSort.WEBHOOK, "jsons://user:pass@host.example/path?x=y", "pass"),
        (ChannelSort.SMTP, "mailtos://user:pass@smtp.example?to=a@b.cn", "pass"),
        (ChannelSort.SMS, "13800138000", "0013"),
        (ChannelSort.MAIL, "wang.xiuying@example.com", "xiuying"),
    ):
        known = parse_address(sort, address)
        assert known == address and secret not in mask(sort, address)
        if "://" in address:
            assert secret not in redacted(f"POST {address} failed", address)


def test_only_the_desk_names_hosts() -> None:
    own = {ChannelSort.SMS, ChannelSort.PHONE, ChannelSort.MAIL}
    assert {sort for sort in ChannelSort if may_add(Role.RESIDENT, sort)} == own
    assert not may_add(Role.STAFF, ChannelSort.WEBHOOK) and not may_add(Role.STREET, ChannelSort.SMTP)
    assert may_add(Role.STAFF, ChannelSort.WECOM) and may_add(Role.DESK, ChannelSort.SMTP)
    assert may_add(Role.ADMIN, ChannelSort.WEBHOOK) and not may_add(Role.DESK, ChannelSort.WEBHOOK)


def test_gateway_takes_nothing_but_the_number() -> None:
    assert gateway_address("json://h/{to}?a=1", "+86/../x?b=2") == "json://h/%2B86%2F..%2Fx%3Fb%3D2?a=1"


def test_digest_names_ten_and_counts_the_rest() -> None:
    title, body = digest([f"t{n}" for n in range(25)], "en")
    assert title == "25 notices for you" and body.splitlines()[-1] == "… and 15 more" and len(body.splitlines()) == 11


def command_event(what: str, **more: Any) -> Event:
    data = {
        "command_id": "c1", "device_id": "c-siren-1", "name": "siren_on", "state": what, "dangerous": True,
        "emergency": False, "run_id": None, "batch_id": None, "by": "desk", "approved": False, "sends": 0, **more,
    }  # fmt: skip
    return Event(7, f"command.{what}", "c", "c1", "", data)


def test_whoever_may_approve_is_told_that_a_command_waits_and_never_whoever_asked() -> None:
    told = audience(command_event("requested", state="awaiting"), ACCOUNTS)
    assert {one.recipient for one in told} == {"account:admin", "account:street"}
    assert {(one.template, one.severity) for one in told} == {("approve", Severity.CRITICAL)}
    alone = audience(command_event("requested", state="awaiting"), (Account("desk", Role.DESK, Team.DESK),))
    assert [one.recipient for one in alone] == ["account:desk"], "somebody always knows that it waits"
    assert audience(command_event("requested", state="queued"), ACCOUNTS) == []
    assert audience(command_event("requested", state="awaiting", dangerous=False), ACCOUNTS) == []


def test_emergency_is_told_to_those_who_can_review_it_and_again_when_that_is_overdue() -> None:
    data = {"command_id": "c1", "batch_id": None, "name": "siren_on", "by": "admin", "at": NOW.isoformat()}
    first = audience(Event(8, "command.emergency", "c", "c1", "", data), ACCOUNTS)
    overdue = audience(Event(9, "command.review_overdue", "c", "c1", "", data), ACCOUNTS)
    for told in (first, overdue):
        assert {one.recipient for one in told} == {"account:desk", "account:street"}
        assert {one.template for one in told} == {"review"}
    assert not {one.id for one in first} & {one.id for one in overdue}, "that it is overdue is news"
    assert "复核" in overdue[0].params["text"]["zh"] and "more than a day" in overdue[0].params["text"]["en"]


@pytest.mark.parametrize(
    ("what", "more", "zh", "en"),
    [
        ("expired", {}, "无人批准", "was NOT sent"),
        ("expired", {"approved": True}, "未能送出", "could not be sent"),
        ("expired", {"approved": True, "sends": 3}, "是否执行不明", "nobody knows"),
        ("expired", {"emergency": True, "sends": 1}, "是否执行不明", "nobody knows"),
        ("unconfirmed", {"approved": True, "sends": 1}, "没有证实", "Take it as not done"),
        ("failed", {"approved": True, "sends": 1}, "执行失败", "failed"),
        ("refused", {}, "被第二人拒绝", "refused"),
        ("refused", {"approved": True}, "不再有权限", "ask and approve again"),
        ("refused", {"emergency": True}, "不再有权限", "NOT sent"),
    ],
)
def test_desk_and_whoever_asked_are_told_what_a_dangerous_command_came_to_and_what_to_do(
    what: str, more: dict[str, Any], zh: str, en: str
) -> None:
    told = audience(command_event(what, by="admin", **more), ACCOUNTS)
    assert {one.recipient for one in told} == {"account:desk", "account:admin"}
    assert all(zh in one.params["text"]["zh"] and en in one.params["text"]["en"] for one in told)
    subject, body = render(TEMPLATES["command"], told[0].params, Severity.CRITICAL, "zh", "Asia/Shanghai")
    assert "指令" in subject and "c-siren-1" in body
    assert audience(command_event(what, dangerous=False, **more), ACCOUNTS) == []
    assert audience(command_event(what, run_id="r", **more), ACCOUNTS) == [], "its plan tells the desk"


def test_commands_of_a_batch_are_told_once() -> None:
    made = [audience(command_event("expired", batch_id="b", command_id=str(n)), ACCOUNTS)[0] for n in range(5)]
    assert len({one.id for one in made}) == 1 and "批量" in made[0].params["text"]["zh"]


def test_plans_word_of_what_is_not_confirmed_goes_to_whoever_is_on_the_way() -> None:
    event, told = order_event(Move.NOTE, detail={"alert_id": str(uuid4()), "note": "关阀未证实"}, actor="system")
    (first, *_) = audience(event, ACCOUNTS, order=told)
    assert first.template == "caution" and first.params["why"] == "关阀未证实"
    detail = {"alert_id": str(uuid4()), "note": "关阀现已证实", "outcome": "confirmed"}
    event, told = order_event(Move.NOTE, detail=detail, actor="system")
    (after, *_) = audience(event, ACCOUNTS, order=told)
    assert (after.template, after.recipient) == ("confirmed", first.recipient)
    acknowledged, known = order_event(Move.NOTE, detail={"note": "已知悉"}, actor="system")
    assert audience(acknowledged, ACCOUNTS, order=known) == []
