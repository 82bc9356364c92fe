"""Alert rules of a community: what is in force, its history, changes by version, and a check that stores nothing."""

from __future__ import annotations

import difflib
from collections import Counter
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from services.adapters.outbox import Outgoing, append
from services.adapters.reports.rows import false_alarm_shares
from services.adapters.rules import KINDS, effective, load_rules, store
from services.api.answers.health import about_health
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS, answer
from services.api.context import Context, Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.rules.models import CheckedOut, EndedOut, RuleChangedOut, RuleDetailOut, RuleList
from services.api.rules.shared import (
    check_may,
    document_of,
    fault,
    in_force,
    override_out,
    read_body,
    refuse,
    refuse_faults,
    rule_fields,
    rule_out,
    sees_private,
    version_out,
)
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.ids import RuleId
from services.domain.rules.document import Others
from services.domain.rules.editing import Origin, Standing, refused, weakens
from services.domain.rules.rule import Mode, Rule
from services.domain.rules.writing import plain_rule, write_rule
from services.domain.vocabulary import Label

log = structlog.get_logger(__name__)
router = APIRouter(prefix=f"{PREFIX}/communities/{{community_id}}/rules", tags=["rules 规则"], responses=PROBLEMS)

Force = Annotated[
    bool, Query(description="仍要执行（会削弱安全或刷屏时） · do it although it weakens safety or floods")
]
Note = Annotated[str, Query(max_length=500, description="为何修改，记入历史与审计 · why; kept in history and audit")]
CHANGES: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "生命安全规则只有管理员可改 · an administrator's to change"},
    409: {"model": Problem, "description": "需要 force 与理由 · needs force, and a reason"},
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster; the current one is in `errors`"},
    415: {"model": Problem, "description": "请发送 YAML 或 JSON · neither YAML nor JSON"},
    422: {"model": Problem, "description": "规则有误，逐行列出 · every fault with its line, in `errors`"},
    428: {"model": Problem, "description": "缺少 If-Match · the header is missing"},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


@router.get("", response_model=RuleList, summary="现行规则 Rules in force")
async def rules(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULES)],
    kind: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = effective(await load_rules(connection, None, community_id), community_id)
        changes = await store.last_changes(connection, community_id)
        counts = Counter(row["rule_id"] for row in await store.overrides_of(connection, community_id))
        since = context.clock.now() - timedelta(days=30)
        shares = await false_alarm_shares(connection, community_id, since)
    items = [
        rule_out(one, changes.get(rule_id), counts[rule_id])
        for rule_id, one in found.items()
        if kind is None or one.kind == kind
    ]
    ended = {
        item.id: EndedOut(ended=share["ended"], false_alarms=share["false_alarms"])
        for item in items
        if (share := shares.get(item.id)) is not None and share["ended"]
    }
    return answer(RuleList(items=items, false_alarms=ended))


@router.get("/{rule_id}", response_model=RuleDetailOut, summary="一条规则及其历史 One rule with its history")
async def rule(
    community_id: str, rule_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULES)]
) -> Response:
    who = ticket.principal
    async with context.database.write() as connection:
        standing = await _standing(connection, who, community_id, rule_id)
        rows = await store.history(connection, community_id, rule_id)
        every = [row for row in await store.overrides_of(connection, community_id) if row["rule_id"] == rule_id]
        private = [row for row in every if about_health(rule_id) or row["subject"].startswith("person:")]
        if private and sees_private(who):
            detail = {"purpose": "rules", "subjects": [row["subject"] for row in private][:100]}
            await system.audit(connection, who, community_id, "health.read", f"rule:{rule_id}", detail)
    shown = every if sees_private(who) else [row for row in every if row not in private]
    out = RuleDetailOut(
        **rule_fields(standing, rows[0] if rows else None, len(every)),
        document=document_of(standing, rows),
        plain={"kind": standing.kind, **plain_rule(standing.rule)},
        default_document=write_rule(standing.kind, standing.default) if standing.default else None,
        history=[version_out(row) for row in rows],
        set_for=[override_out(row["subject"], rule_id, row) for row in shown],
    )
    response = answer(out)
    response.headers.update(etag(standing.newest))
    return response


@router.get(
    "/{rule_id}/diff", response_class=PlainTextResponse, summary="两版之差 What changed between two versions, as text"
)
async def diff(
    community_id: str,
    rule_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULES)],
    before: Annotated[int, Query(alias="from", ge=1)],
    after: Annotated[int, Query(alias="to", ge=1)],
) -> PlainTextResponse:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        standing = effective(await load_rules(connection, None, community_id), community_id).get(RuleId(rule_id))
        rows = await store.history(connection, community_id, rule_id, 1000)
    if standing is None and not rows:
        raise not_found("rule", rule_id)
    texts = {row["version"]: str(row["document"]) for row in rows}
    default = standing.default if standing is not None else None
    if standing is not None and default is not None:
        text = write_rule(standing.kind, default)
        texts.setdefault(default.version, text)
        texts |= {row["version"]: text for row in rows if row["mode"] == store.REMOVED}
        if standing.origin is Origin.DEFAULT:
            texts.setdefault(standing.rule.version, text)
    for version in (before, after):
        if version not in texts:
            raise not_found("version", f"{rule_id} v{version}")
    lines = difflib.unified_diff(
        texts[before].splitlines(), texts[after].splitlines(), f"v{before}", f"v{after}", lineterm=""
    )
    return PlainTextResponse("".join(f"{line}\n" for line in lines))


@router.post("/validate", summary="只检查，不保存 Check a document, store nothing", openapi_extra=BODY)
async def validate(
    community_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)]
) -> CheckedOut:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = effective(await load_rules(connection, None, community_id), community_id)
    text, _ = await read_body(request, _beside(found))
    return CheckedOut(
        ok=not text.findings,
        kind=text.kind,
        rules=[one.id for one in text.rules],
        faults=[fault(one) for one in text.findings],
    )


@router.put("/{rule_id}", summary="修改或新增一条规则 Put a rule in place", responses=CHANGES, openapi_extra=BODY)
async def put(
    community_id: str,
    rule_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)],
    response: Response,
    note: Note = "",
    force: Force = False,
) -> RuleChangedOut:
    """If-Match names the version seen (ETag of the rule); a new rule is put with `If-None-Match: *`."""
    who = ticket.principal
    async with context.database.consistent() as connection:
        await community_in_scope(connection, who, community_id)
        found = effective(await load_rules(connection, None, community_id), community_id)
        standing = found.get(RuleId(rule_id))
        newest = standing.newest if standing else await store.newest_version(connection, community_id, rule_id)
        await _check_seen(connection, community_id, rule_id, standing, newest, expected_version(request))
    text, written = await read_body(request, _beside(found))
    refuse_faults(text.findings)
    rule = _the_one(text.rules, rule_id, newest)
    _check_change(who, text.kind, standing, rule, force, note)
    if standing is None and sum(one.origin is Origin.OWN for one in found.values()) >= store.MOST_OWN_RULES:
        words = Label(f"自有规则已达 {store.MOST_OWN_RULES} 条", f"there are {store.MOST_OWN_RULES} own rules already")
        raise refuse(words)
    a_day = await _check_flood(context, community_id, text.kind, rule, force)
    async with context.database.write() as connection:
        added = await store.add_rule(
            connection,
            community_id,
            rule_id,
            version=newest + 1,
            kind=text.kind,
            mode=rule.mode,
            document=written if written is not None else write_rule(text.kind, rule),
            by=who.id,
            note=note,
        )
        if not added:
            await _say_stale(connection, community_id, rule_id)
        detail = {"version": newest + 1, "mode": rule.mode.value, "note": note, "force": force}
        out = await _changed(connection, who, community_id, rule_id, "rule.put", detail, text.kind)
    response.headers.update(etag(newest + 1))
    log.info("rule_changed", community=community_id, rule=rule_id, version=newest + 1, by=who.id)
    return out.model_copy(update={"alerts_a_day": a_day})


@router.delete("/{rule_id}", summary="恢复默认 Back to the default", responses=CHANGES)
async def delete(
    community_id: str,
    rule_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)],
    response: Response,
    note: Note = "",
    force: Force = False,
) -> RuleChangedOut:
    who = ticket.principal
    async with context.database.write() as connection:
        standing = await _standing(connection, who, community_id, rule_id)
        newest = standing.newest
        await _check_seen(connection, community_id, rule_id, standing, newest, expected_version(request))
        if standing.origin is Origin.DEFAULT and not standing.why_not:
            raise ApiError(HTTPStatus.CONFLICT, "现行的就是默认规则 · the default is what is in force")
        _check_change(who, standing.kind, standing, None, force, note)
        kind = standing.kind
        added = await store.add_rule(
            connection,
            community_id,
            rule_id,
            version=newest + 1,
            kind=kind,
            mode=None,
            document="",
            by=who.id,
            note=note,
        )
        if not added:
            await _say_stale(connection, community_id, rule_id)
        detail = {"version": newest + 1, "note": note, "force": force}
        out = await _changed(connection, who, community_id, rule_id, "rule.removed", detail, kind)
    response.headers.update(etag(newest + 1))
    log.info("rule_removed", community=community_id, rule=rule_id, version=newest + 1, by=who.id)
    return out


async def _standing(connection: Connection, who: Principal, community_id: str, rule_id: str) -> Standing:
    """Raises ApiError 404."""
    await community_in_scope(connection, who, community_id)
    standing = await store.load_standing(connection, community_id, rule_id)
    if standing is None:
        raise not_found("rule", rule_id)
    return standing


def _beside(found: dict[RuleId, Standing]) -> Others:
    return Others(tuple((one.kind, one.rule) for one in found.values()))


async def _check_seen(
    connection: Connection, community_id: str, rule_id: str, standing: Standing | None, newest: int, seen: int
) -> None:
    """Raises ApiError 412. Of a rule that is gone, its last version or none at all may have been seen."""
    if seen == newest or (standing is None and seen == 0):
        return
    rows = await store.history(connection, community_id, rule_id, 1)
    raise stale(newest, document_of(standing, rows) if standing is not None else None)


async def _say_stale(connection: Connection, community_id: str, rule_id: str) -> None:
    standing = await store.load_standing(connection, community_id, rule_id)
    rows = await store.history(connection, community_id, rule_id, 1)
    raise stale(rows[0]["version"], document_of(standing, rows) if standing is not None else None)


def _the_one(rules: tuple[Rule, ...], rule_id: str, newest: int) -> Rule:
    """The rule that is meant, as it will be. Raises ApiError 422."""
    if len(rules) != 1 or rules[0].id != rule_id:
        raise refuse(Label(f"内容应为规则 {rule_id} 这一条", f"the document must hold the rule {rule_id} and no other"))
    if rules[0].version not in (1, newest, newest + 1):
        raise refuse(
            Label(
                f"version 应为所见的第 {newest} 版，或省略",
                f"version is the one you have seen, {newest}, or left out: versions are counted here",
            )
        )
    return rules[0]


def _check_change(
    who: Principal, kind: str, standing: Standing | None, after: Rule | None, force: bool, note: str
) -> None:
    """Raises ApiError 403, 409 or 422."""
    check_may(who, (standing is not None and standing.life_safety) or (after is not None and after.life_safety))
    default = standing.default if standing is not None else None
    if after is not None and (words := refused(KINDS[kind], default, after)) is not None:
        raise refuse(words)
    weaker = weakens(standing, after)
    if weaker is not None and not (force and note.strip()):
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"{weaker.zh}；如确需如此，请加 force=true 并在 note 写明理由 · {weaker.en}; if it has to be, say "
            "force=true and give the reason in note",
        )


async def _check_flood(context: Context, community_id: str, kind: str, rule: Rule, force: bool) -> float | None:
    """Alerts a day. Raises ApiError 409 where that is more than anybody could answer."""
    if rule.mode is not Mode.LIVE:
        return None
    a_day = await context.estimate(context.database, community_id, kind, rule)
    most = context.settings.rule_alerts_a_day
    if a_day is not None and a_day > most and not force:
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"按已存数据，此规则每天将告警 {a_day:.0f} 次（上限 {most:g}）；请改规则，或加 force=true · "
            f"by what is stored this rule would raise {a_day:.0f} alerts a day (limit {most:g}); change it, or say "
            "force=true",
            errors=[{"alerts_a_day": a_day, "limit": most}],
        )
    return a_day


async def _changed(
    connection: Connection,
    who: Principal,
    community_id: str,
    rule_id: str,
    action: str,
    detail: dict[str, Any],
    kind: str,
) -> RuleChangedOut:
    """The answer to a change, which is written to the audit and the outbox."""
    standing = await store.load_standing(connection, community_id, rule_id)
    told = await in_force(connection, community_id)
    rows = await store.history(connection, community_id, rule_id, 1)
    counts = [row for row in await store.overrides_of(connection, community_id) if row["rule_id"] == rule_id]
    await system.audit(connection, who, community_id, action, f"rule:{rule_id}", detail)
    data = {
        "rule_id": rule_id,
        "kind": kind,
        "version": standing.rule.version if standing is not None else detail["version"],
        "mode": standing.rule.mode.value if standing is not None else store.REMOVED,
    }
    await append(connection, [Outgoing("rule.changed", community_id, rule_id, "", data)])
    shown = rule_out(standing, rows[0], len(counts)) if standing is not None else None
    return RuleChangedOut(rule=shown, in_force=told, alerts_a_day=None)
