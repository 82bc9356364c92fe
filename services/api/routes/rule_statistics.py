"""How the alerts of a rule end: what people on site found, by device, so that whoever edits it knows."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from services.adapters.reports import rows
from services.adapters.rules import effective, load_rules
from services.api.answers.health import about_health
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.reports.models import FalseAlarmsOut, RuleStatisticsOut
from services.api.rules.shared import sees_private
from services.api.web.problems import not_found
from services.domain.access import Permission
from services.domain.ids import RuleId

router = APIRouter(prefix=PREFIX, tags=["rules 规则"], responses=PROBLEMS)

MOST_DEVICES = 100


@router.get(
    "/communities/{community_id}/rules/{rule_id}/statistics",
    summary="规则的误报统计 How the alerts of a rule ended",
)
async def statistics(
    community_id: str,
    rule_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.RULES)],
    days: Annotated[int, Query(ge=1, le=366)] = 30,
) -> RuleStatisticsOut:
    """Of alerts raised in the last `days`; devices with the most false alarms first. Of a rule about people's health,
    devices are shown to those alone who may see health data."""
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        known = effective(await load_rules(connection, None, community_id), community_id)
        since = context.clock.now() - timedelta(days=days)
        found = await rows.rule_statistics(connection, community_id, rule_id, since, MOST_DEVICES)
    whole = next((row for row in found if row["whole"]), None)
    if RuleId(rule_id) not in known and (whole is None or not whole["alerts"]):
        raise not_found("rule", rule_id)
    hidden = about_health(rule_id) and not sees_private(ticket.principal)
    return RuleStatisticsOut(
        rule_id=rule_id,
        days=days,
        whole=_counted(whole) if whole is not None else _NONE,
        devices=[] if hidden else [_counted(row) for row in found if not row["whole"]],
    )


_NONE = FalseAlarmsOut(device_id=None, alerts=0, orders=0, ended=0, false_alarms=0, share=None)


def _counted(row: Row) -> FalseAlarmsOut:
    share = round(row["false_alarms"] / row["ended"], 4) if row["ended"] else None
    names = ("device_id", "alerts", "orders", "ended", "false_alarms")
    return FalseAlarmsOut(**{name: row[name] for name in names}, share=share)
