"""What the routes about rules share: bodies, who may change what, and rules as they are shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request

from services.adapters.rules import Finding, Text, read_plain, read_text
from services.adapters.rules.store import plain_json
from services.api.answers.models import LabelOut
from services.api.rules.models import FaultOut, InForceOut, OverrideOut, RuleOut, VersionOut
from services.api.store import Q
from services.api.store.database import Connection
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal
from services.domain.rules.document import Others, kind_name
from services.domain.rules.editing import Standing
from services.domain.rules.rule import Rule
from services.domain.rules.writing import write_rule
from services.domain.vocabulary import Label, Role

YAML_TYPES = ("text/yaml", "application/yaml", "application/x-yaml", "text/x-yaml")
ENGINE = "alerts"
"""The name under which engines hold their leases."""


async def yaml_body(request: Request) -> str:
    """A document that comes as YAML alone. Raises ApiError 400 and 415."""
    if _media(request) not in YAML_TYPES:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "请发送 text/yaml · send text/yaml")
    try:
        return (await request.body()).decode("utf-8")
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _media(request: Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _not_utf8() -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "内容不是 UTF-8 文本 · the body is not UTF-8 text")


async def read_body(request: Request, others: Others | None) -> tuple[Text, str | None]:
    """The document and its text; None where it came as JSON. Raises ApiError 400 and 415."""
    media = _media(request)
    raw = await request.body()
    try:
        if media == "application/json":
            return read_plain(_finite_json(raw), others), None
        if media not in YAML_TYPES:
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "请发送 text/yaml 或 application/json · send text/yaml or JSON"
            )
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _not_utf8() from None
    except (ValueError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"内容不是有效的 JSON · the body is not JSON: {error}") from None
    return read_text(text, others), text


def _finite_json(raw: bytes) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    return json.loads(raw, parse_constant=refuse)


def refuse_faults(findings: Iterable[Finding]) -> None:
    """Raises ApiError 422 naming every fault; nothing where there is none."""
    found = [fault(one) for one in findings]
    if not found:
        return
    first = found[0]
    place = f"第 {first.line} 行 · line {first.line}: " if first.line else ""
    where = f"{first.where}: " if first.where else ""
    more = f" (+{len(found) - 1})" if len(found) > 1 else ""
    raise ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{place}{where}{first.zh} · {first.en}{more}",
        errors=[one.model_dump() for one in found],
    )


def refuse(words: Label) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{words.zh} · {words.en}")


def check_may(who: Principal, life_safety: bool) -> None:
    """Raises ApiError 403 where a rule about life and death is not the asker's to change."""
    if life_safety and not who.may(Permission.RULE_SAFETY):
        raise ApiError(
            HTTPStatus.FORBIDDEN, "生命安全规则只有管理员可改 · only an administrator may change a life-safety rule"
        )


def sees_private(who: Principal) -> bool:
    """Whether settings of single people are shown: a 网格员 sees health data of their own 网格 only, hence not here."""
    return who.may(Permission.HEALTH) and who.role is not Role.GRID


async def in_force(connection: Connection, community_id: str) -> InForceOut:
    engine = await connection.fetchval(Q["engine_of_community"], community_id, ENGINE)
    words = (
        LabelOut(
            zh="告警引擎已收到通知，约一秒内生效", en="the alert engine has been told; it counts in about a second"
        )
        if engine
        else LabelOut(zh="告警引擎未运行，启动后生效", en="no alert engine is running; it counts as soon as one does")
    )
    return InForceOut(engine=bool(engine), words=words)


def fault(finding: Finding) -> FaultOut:
    return FaultOut(
        line=finding.line or None,
        column=finding.column or None,
        where=finding.where,
        zh=finding.words.zh,
        en=finding.words.en,
    )


def document_of(standing: Standing, rows: Iterable[Mapping[str, Any]]) -> str:
    """The text in force: as it was written, or the default's."""
    for row in rows:
        if row["version"] == standing.rule.version and row["document"]:
            return str(row["document"])
    return write_rule(standing.kind, standing.rule)


def rule_fields(standing: Standing, change: Mapping[str, Any] | None, overrides: int) -> dict[str, Any]:
    rule: Rule = standing.rule
    return {
        "id": rule.id,
        "kind": standing.kind,
        "sort": kind_name(type(rule.parameters)),
        "title": LabelOut(zh=rule.title.zh, en=rule.title.en),
        "severity": rule.severity,
        "team": rule.team,
        "family": rule.family or rule.id,
        "life_safety": rule.life_safety,
        "opens_order": rule.opens_order,
        "mode": rule.mode.value,
        "origin": standing.origin.value,
        "version": rule.version,
        "newest": standing.newest,
        "changed_at": change["created_at"] if change else None,
        "changed_by": change["created_by"] if change else None,
        "change_note": change["note"] if change else "",
        "overrides": overrides,
        "problem": standing.why_not or None,
    }


def rule_out(standing: Standing, change: Mapping[str, Any] | None, overrides: int) -> RuleOut:
    return RuleOut(**rule_fields(standing, change, overrides))


def version_out(row: Mapping[str, Any]) -> VersionOut:
    return VersionOut(
        version=row["version"], mode=row["mode"], at=row["created_at"], by=row["created_by"], note=row["note"]
    )


def override_out(subject: str, rule_id: str, row: Mapping[str, Any] | None) -> OverrideOut:
    if row is None:
        return OverrideOut(subject=subject, rule_id=rule_id, version=0, parameters=None, at=None, by=None, note="")
    return OverrideOut(
        subject=subject,
        rule_id=rule_id,
        version=row["version"],
        parameters=plain_json(row["parameters"]),
        at=row["created_at"],
        by=row["created_by"],
        note=row["note"],
    )
