"""What people call the values that figures are grouped by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import asyncpg

from services.adapters.orders.class_files import load_defaults as default_classes
from services.adapters.orders.classes import classes_of
from services.adapters.queries import Queries
from services.adapters.reports import load_categories
from services.adapters.rules import load_defaults as default_rules
from services.adapters.rules.store import load_standing
from services.domain.devices import BY_NAME
from services.domain.kpis.span import SOURCES
from services.domain.vocabulary import SEVERITY_LABELS, TEAM_LABELS, Label

Q = Queries.beside(__file__)
PLAIN = Label("通用", "General")
"""The class of orders that were opened without one."""
NO_CATEGORY = Label("无服务类别", "No category")
HEALTH = Label("健康关怀", "Wellbeing check")


async def names_of(
    connection: asyncpg.Connection[Any], community_id: str, by: str, keys: Iterable[str]
) -> dict[str, Label]:
    """Every key has a name; what has none is called by itself, and what is empty （无）."""
    wanted = list(keys)
    known = await _known(connection, community_id, by, wanted)
    return {key: known.get(key) or Label(key or "（无）", key or "(none)") for key in wanted}


async def _known(connection: asyncpg.Connection[Any], community_id: str, by: str, keys: list[str]) -> dict[str, Label]:
    match by:
        case "team":
            return {team.value: words for team, words in TEAM_LABELS.items()}
        case "severity":
            return {severity.value: words for severity, words in SEVERITY_LABELS.items()}
        case "source":
            return SOURCES
        case "category":
            return {"": NO_CATEGORY, **{one.id: one.title for one in load_categories().values()}}
        case "class":
            _, own = await classes_of(connection, community_id)
            # A class that the community has given up since is still called what it was by default.
            titles = {one.id: one.title for classes in (default_classes(), own) for one in classes.classes}
            return {"plain": PLAIN, **titles}
        case "rule":
            return await _rules(connection, community_id, keys)
        case "grid" | "building" | "person" | "device":
            rows = await connection.fetch(Q["names"], by, keys, community_id)
            return {row["id"]: Label(row["name"], row["name"]) for row in rows}
        case _:
            return {}


async def _rules(connection: asyncpg.Connection[Any], community_id: str, keys: list[str]) -> dict[str, Label]:
    titles = {str(rule.id): rule.title for rules in default_rules().values() for rule in rules}
    for key in keys:
        if key and key not in titles and (own := await load_standing(connection, community_id, key)) is not None:
            titles[key] = own.rule.title
    # Rules of several kinds of devices are called alike (offline, sends too often): the kind tells them apart.
    alike = Counter(title.zh for title in titles.values())
    return {"health": HEALTH} | {key: _of_kind(key, title, alike[title.zh]) for key, title in titles.items()}


def _of_kind(rule: str, title: Label, times: int) -> Label:
    kind = BY_NAME.get(rule.partition(".")[0])
    if times == 1 or kind is None:
        return title
    return Label(f"{kind.label.zh}：{title.zh}", f"{kind.label.en}: {title.en}")
