"""Rules of communities and settings of single devices and people in the database: versions are added, never changed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from services.adapters.queries import Queries
from services.adapters.rules.files import KINDS, Text, load_defaults, read_text
from services.domain.ids import RuleId
from services.domain.rules.document import read_changes
from services.domain.rules.editing import Origin, Standing, default_again
from services.domain.rules.rule import Mode, Rule
from services.domain.rules.rulebook import Rulebook, by_kind

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"

REMOVED = "removed"
MOST_OWN_RULES = 1000
_CACHED = 20_000
_LOOKED_BACK = 50


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored text that this program cannot use; what stands instead is told with it."""

    community_id: str
    rule_id: str
    version: int
    instead: int | None
    """Version in force in its place; None: none at all."""
    why: str
    subject: str = ""
    """Of an override: whose."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of some communities. `standings`: community → rule → as it is in force, defaults included."""

    rulebook: Rulebook
    standings: Mapping[str, Mapping[RuleId, Standing]]
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, slots=True)
class _Head:
    """The newest version of one rule of one community."""

    community_id: str
    rule_id: RuleId
    version: int
    kind: str
    mode: str
    default_version: int
    digest: UUID


_parsed: OrderedDict[UUID, Text] = OrderedDict()
"""By the text's digest. A text means the same for as long as this process runs."""


async def load_rulebook(connection: Connection, partitions: Sequence[int] | None = None) -> Rulebook:
    """The rules in force in the communities of these partitions (None: of all)."""
    return (await load_rules(connection, partitions)).rulebook


async def load_rules(
    connection: Connection, partitions: Sequence[int] | None = None, community_id: str | None = None
) -> Rules:
    """A text that cannot be read any more stops nobody: the last version that can be read stands, or the default."""
    wanted = None if partitions is None else list(partitions)
    heads = [_Head(**row) for row in await connection.fetch(Q["newest_rules"], wanted, community_id)]
    texts = await _texts(connection, heads)
    standings: dict[str, dict[RuleId, Standing]] = {}
    unreadable: list[Unreadable] = []
    for head in heads:
        standing = await _standing(connection, head, texts.get(head.digest))
        if standing is not None:
            standings.setdefault(head.community_id, {})[head.rule_id] = standing
        if standing is None and head.mode != REMOVED:
            why = _why(head, texts.get(head.digest))
            unreadable.append(Unreadable(head.community_id, head.rule_id, head.version, None, why))
        elif standing is not None and standing.why_not:
            instead = standing.rule.version
            unreadable.append(Unreadable(head.community_id, head.rule_id, head.version, instead, standing.why_not))
    own = {
        community: by_kind((one.kind, one.rule) for _, one in sorted(found.items()))
        for community, found in standings.items()
    }
    rulebook = Rulebook(load_defaults(), own)
    rows = await connection.fetch(Q["newest_overrides"], wanted, community_id)
    overrides, lost = _overrides(rulebook, standings, rows)
    unreadable += lost
    for one in unreadable:
        log.error(
            "rule_unreadable",
            community=one.community_id,
            rule=one.rule_id,
            version=one.version,
            instead=one.instead,
            subject=one.subject,
            why=one.why,
        )
    return Rules(replace(rulebook, overrides=overrides), standings, tuple(unreadable))


async def load_standing(connection: Connection, community_id: str, rule_id: str) -> Standing | None:
    """One rule of a community as it is in force; None: there is none of that id."""
    return effective(await load_rules(connection, None, community_id), community_id).get(RuleId(rule_id))


def effective(rules: Rules, community_id: str) -> dict[RuleId, Standing]:
    """Every rule of the community, defaults first in the order of the catalogue; those that are off too."""
    own = rules.standings.get(community_id, {})
    found: dict[RuleId, Standing] = {}
    for kind, defaults in load_defaults().items():
        for rule in defaults:
            found[rule.id] = own.get(rule.id) or Standing(kind, rule, Origin.DEFAULT, rule.version, rule)
    found |= {rule_id: one for rule_id, one in own.items() if rule_id not in found}
    return found


async def newest_version(connection: Connection, community_id: str, rule_id: str) -> int:
    """Of a rule that is gone too; 0: there never was one."""
    rows = await connection.fetch(Q["history"], community_id, rule_id, 1)
    return int(rows[0]["version"]) if rows else 0


async def _texts(connection: Connection, heads: Iterable[_Head]) -> dict[UUID, Text]:
    """The parsed documents of these versions; those that were met before are not read again."""
    wanted = [head for head in heads if head.mode != REMOVED]
    missing = [head for head in wanted if head.digest not in _parsed]
    found = {head.digest: _parsed[head.digest] for head in wanted if head.digest in _parsed}
    if missing:
        keys = zip(*((one.community_id, one.rule_id, one.version) for one in missing), strict=True)
        for row in await connection.fetch(Q["documents"], *map(list, keys)):
            if row["digest"] not in found:
                found[row["digest"]] = _parsed[row["digest"]] = read_text(row["document"])
    while len(_parsed) > _CACHED:
        _parsed.popitem(last=False)
    return found


async def _standing(connection: Connection, head: _Head, text: Text | None) -> Standing | None:
    """None: nothing is in force."""
    default = _default(head.rule_id)
    if head.mode == REMOVED:
        if default is None:
            return None
        version = default_again(default, head.version, head.default_version)
        return Standing(head.kind, replace(default, version=version), Origin.DEFAULT, version, default)
    rule = _rule_of(head.rule_id, text)
    if rule is not None:
        return Standing(head.kind, replace(rule, version=head.version), Origin.OWN, head.version, default)
    why = _why(head, text)
    for row in (await connection.fetch(Q["history"], head.community_id, head.rule_id, _LOOKED_BACK))[1:]:
        if row["mode"] == REMOVED:
            break
        older = _rule_of(head.rule_id, read_text(row["document"]))
        if older is not None:
            own = replace(older, version=row["version"])
            return Standing(row["kind"], own, Origin.OWN, head.version, default, why)
    if default is None:
        return None
    return Standing(head.kind, default, Origin.DEFAULT, head.version, default, why)


def _rule_of(rule_id: RuleId, text: Text | None) -> Rule | None:
    if text is None or text.findings or len(text.rules) != 1 or text.rules[0].id != rule_id:
        return None
    return text.rules[0]


def _why(head: _Head, text: Text | None) -> str:
    if text is not None and text.findings:
        return "; ".join(finding.said(f"{head.rule_id} v{head.version}") for finding in text.findings[:5])
    return f"{head.rule_id} v{head.version}: 不是这一条规则 · is not one rule of this id"


def _default(rule_id: str) -> Rule | None:
    kind = rule_id.partition(".")[0]
    return next((rule for rule in load_defaults().get(kind, ()) if rule.id == rule_id), None)


def _overrides(
    rulebook: Rulebook, standings: Mapping[str, Mapping[RuleId, Standing]], rows: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, dict[RuleId, dict[str, Any]]], list[Unreadable]]:
    found: dict[str, dict[RuleId, dict[str, Any]]] = {}
    lost: list[Unreadable] = []
    for row in rows:
        given = plain_json(row["parameters"])
        if given is None:
            continue
        rule_id = RuleId(row["rule_id"])
        standing = standings.get(row["community_id"], {}).get(rule_id)
        rule = standing.rule if standing is not None else _default(rule_id)
        kind = KINDS.get(rule_id.partition(".")[0])
        if rule is None or kind is None:
            continue  # set for a rule that is gone; it counts again when the rule is back
        changes, faults = read_changes(rule, kind, given)
        if faults:
            why = "; ".join(f"{fault.where}: {fault.words.zh} · {fault.words.en}" for fault in faults)
            lost.append(Unreadable(row["community_id"], rule_id, row["version"], None, why, row["subject"]))
        else:
            found.setdefault(row["subject"], {})[rule_id] = changes
    return found, lost


def plain_json(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored


async def add_rule(
    connection: Connection,
    community_id: str,
    rule_id: str,
    *,
    version: int,
    kind: str,
    mode: Mode | None,
    document: str,
    by: str,
    note: str,
) -> bool:
    """A new version of a rule, `mode` None: it is removed. False: that version is there: somebody was faster."""
    default = _default(rule_id)
    added = await connection.fetchval(
        Q["insert_rule"],
        community_id,
        rule_id,
        version,
        min(default.version, version) if default is not None else 0,
        kind,
        REMOVED if mode is None else mode.value,
        document,
        by,
        note,
    )
    return added is not None


async def history(connection: Connection, community_id: str, rule_id: str, limit: int = 100) -> list[Mapping[str, Any]]:
    """The newest versions first."""
    rows: list[Mapping[str, Any]] = await connection.fetch(Q["history"], community_id, rule_id, limit)
    return rows


async def last_changes(connection: Connection, community_id: str) -> dict[str, Mapping[str, Any]]:
    """By rule: when it was changed last, by whom and why."""
    return {row["rule_id"]: row for row in await connection.fetch(Q["last_changes"], community_id)}


async def overrides_of(connection: Connection, community_id: str) -> list[Mapping[str, Any]]:
    """The newest version of each, those that say nothing any more left out."""
    rows = await connection.fetch(Q["newest_overrides"], None, community_id)
    return [row for row in rows if row["parameters"] is not None]


async def newest_override(connection: Connection, subject: str, rule_id: str) -> Mapping[str, Any] | None:
    row: Mapping[str, Any] | None = await connection.fetchrow(Q["newest_override"], subject, rule_id)
    return row


async def add_override(
    connection: Connection,
    community_id: str,
    subject: str,
    rule_id: str,
    *,
    version: int,
    parameters: Mapping[str, Any] | None,
    by: str,
    note: str,
) -> bool:
    """False: that version is there already."""
    stored = json.dumps(parameters) if parameters is not None else None
    added = await connection.fetchval(Q["insert_override"], community_id, subject, rule_id, version, stored, by, note)
    return added is not None
