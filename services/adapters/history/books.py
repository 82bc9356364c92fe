"""Which rules are meant: those in force, the defaults, one stored version, or what a file puts in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg

from services.adapters.rules import default_rulebook, load_rules, read_file, read_text, store
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook

CURRENT, DEFAULT = "current", "default"
VERSION = re.compile(r"(?P<rule>[a-z0-9_]+(?:\.[a-z0-9_]+)+)@(?P<number>\d{1,9})")
_HISTORY = 10_000


class BadRules(ValueError):
    """Which rules cannot be used and why, one line each."""


async def named(connection: asyncpg.Connection[Any], community: str, name: str) -> tuple[Rulebook, frozenset[str]]:
    """`current`, `default`, `{rule}@{version}` or a file: the rulebook, and the rules that it names (none: all).

    A version or a file stands in the place of what is in force, rule by rule. Raises BadRules.
    """
    if name == DEFAULT:
        return default_rulebook(), frozenset()
    current = await in_force(connection, community)
    if name == CURRENT:
        return current, frozenset()
    if (version := VERSION.fullmatch(name)) is not None:
        return await _stored(connection, current, community, version["rule"], int(version["number"]))
    text = read_file(Path(name))
    if text.findings:
        raise BadRules("\n".join(finding.said(name) for finding in text.findings))
    return with_rules(current, community, text.kind, text.rules), frozenset(rule.id for rule in text.rules)


async def in_force(connection: asyncpg.Connection[Any], community: str) -> Rulebook:
    return (await load_rules(connection, None, community)).rulebook


async def _stored(
    connection: asyncpg.Connection[Any], current: Rulebook, community: str, rule: str, number: int
) -> tuple[Rulebook, frozenset[str]]:
    rows = [row for row in await store.history(connection, community, rule, _HISTORY) if row["version"] == number]
    if rows and rows[0]["mode"] != store.REMOVED:
        return of_text(current, community, str(rows[0]["document"]))
    for kind, rules in default_rulebook().defaults.items():
        for one in rules:
            if one.id == rule and one.version == number:
                return with_rules(current, community, kind, [one]), frozenset({one.id})
    raise BadRules(f"{rule}@{number}: there is no such version")


def of_text(current: Rulebook, community: str, text: str) -> tuple[Rulebook, frozenset[str]]:
    """As a file's. Raises BadRules."""
    read = read_text(text)
    if read.findings:
        raise BadRules("\n".join(finding.said("rules") for finding in read.findings))
    return with_rules(current, community, read.kind, read.rules), frozenset(rule.id for rule in read.rules)


def with_rules(book: Rulebook, community: str, kind: str, rules: Iterable[Rule]) -> Rulebook:
    """The community's rules with these in place of those of the same id."""
    new = {rule.id: rule for rule in rules}
    kinds = dict(book.communities.get(community, {}))
    kept = [rule for rule in kinds.get(kind, ()) if rule.id not in new]
    kinds[kind] = (*kept, *new.values())
    return replace(book, communities={**book.communities, community: kinds})
