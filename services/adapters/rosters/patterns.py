"""Rotas by version, and the shifts that are made of them as far ahead as is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from services.adapters.rosters.common import (
    Connection,
    Q,
    RosterConflict,
    RosterRefused,
    Row,
    insert_shifts,
    json_of,
    lock,
    shift_of,
    zone_of,
)
from services.domain.ids import CommunityId
from services.domain.rosters import LONGEST_SHIFT, Clash, Pattern, fitted, planned
from services.domain.vocabulary import Label, Team


@dataclass(frozen=True, slots=True)
class StoredPattern:
    """The latest version of a rota; `pattern` None: it was withdrawn. `until`: so far ahead its shifts were made."""

    id: str
    version: int
    team: Team
    pattern: Pattern | None
    author: str
    at: datetime
    until: datetime | None

    def in_force(self, day: date) -> bool:
        """Whether it says who is on duty on this local day."""
        one = self.pattern
        return one is not None and one.from_day <= day and (one.until_day is None or day <= one.until_day)


@dataclass(frozen=True, slots=True)
class Made:
    """What making shifts did. `clashes` were left out; there are none where they were refused."""

    added: int
    cancelled: int
    clashes: tuple[Clash, ...]
    until: datetime | None


def _stored(row: Row) -> StoredPattern:
    document = json_of(row["document"])
    return StoredPattern(
        id=row["id"],
        version=row["version"],
        team=Team(row["team"]),
        pattern=Pattern.parse(document) if document is not None else None,
        author=row["author"],
        at=row["at"],
        until=row["until"],
    )


async def patterns(connection: Connection, community_id: str, pattern_id: str | None = None) -> list[StoredPattern]:
    """The latest of each rota of the community, the withdrawn too, by id."""
    return [_stored(row) for row in await connection.fetch(Q["patterns"], community_id, pattern_id)]


async def pattern_versions(connection: Connection, community_id: str, pattern_id: str) -> list[StoredPattern]:
    """Newest first, the last hundred."""
    return [_stored(row) for row in await connection.fetch(Q["pattern_versions"], community_id, pattern_id)]


async def put_pattern(
    connection: Connection,
    community_id: str,
    pattern_id: str,
    pattern: Pattern | None,
    seen: int,
    by: str,
    now: datetime,
) -> StoredPattern:
    """A new version in place of version `seen` (0: there is none); None withdraws it. Shifts are not made yet.

    Raises RosterConflict, and RosterRefused where a person is not there or of another team.
    """
    await lock(connection, community_id)
    known = await patterns(connection, community_id, pattern_id)
    current = known[0].version if known else 0
    if seen != current:
        raise RosterConflict(current)
    if pattern is None:
        if not known:
            raise RosterRefused(Label("没有这份排班", "there is no such rota"))
        team = known[0].team
    else:
        team = pattern.team
        if known and known[0].team is not team:
            raise RosterRefused(Label("排班的队伍不能更改，请另建一份", "a rota keeps its team; make another one"))
        await _check_people(connection, community_id, pattern)
    document = json.dumps(pattern.as_document(), ensure_ascii=False) if pattern is not None else None
    await connection.execute(Q["insert_pattern"], community_id, pattern_id, current + 1, team.value, document, by, now)
    return StoredPattern(pattern_id, current + 1, team, pattern, by, now, None)


async def _check_people(connection: Connection, community_id: str, pattern: Pattern) -> None:
    rows = await connection.fetch(Q["staff"], community_id)
    able = {row["id"] for row in rows if not row["disabled"] and row["duty_team"] == pattern.team.value}
    strangers = sorted({person for crew in pattern.people for person in crew} - able)
    if strangers:
        names = ", ".join(strangers[:5])
        raise RosterRefused(
            Label(f"不是本社区该队伍的在用账号：{names}", f"not enabled accounts of this team here: {names}")
        )


async def make_shifts(
    connection: Connection,
    community_id: str,
    pattern_id: str,
    until: datetime,
    by: str,
    now: datetime,
    *,
    strict: bool,
    start: datetime | None = None,
) -> Made:
    """Makes the rota's shifts up to `until`, from where the last making ended (or from `start`, or now).

    Of an older version, shifts that have not begun fall away; what people changed by hand stays as they changed it.
    Doing it again adds nothing. `strict`: a clash is refused (RosterRefused), else what clashes is left out.
    """
    await lock(connection, community_id)
    known = await patterns(connection, community_id, pattern_id)
    if not known:
        raise RosterRefused(Label("没有这份排班", "there is no such rota"))
    stored = known[0]
    cancelled = await connection.fetch(
        Q["cancel_of_older_version"],
        community_id,
        pattern_id,
        stored.version if stored.pattern is not None else -1,
        now,
        by,
    )
    if stored.pattern is None:
        await connection.execute(Q["set_horizon"], community_id, pattern_id, stored.version, now)
        return Made(0, len(cancelled), (), None)
    zone = await zone_of(connection, community_id)
    # A day back: whoever's shift has begun already is on duty now.
    first = start if start is not None else now - LONGEST_SHIFT
    wanted = [
        shift
        for shift in planned(stored.pattern, pattern_id, stored.version, CommunityId(community_id), zone, first, until)
        if shift.ends_at > now
    ]
    people = sorted({shift.user_id for shift in wanted})
    lowest, highest = first - LONGEST_SHIFT, until + LONGEST_SHIFT
    rows: Sequence[Row] = [
        *await connection.fetch(Q["standing_shifts"], people, lowest, highest),
        *await connection.fetch(Q["stood_in_shifts"], community_id, people, lowest, highest),
    ]
    standing = list({row["id"]: shift_of(row) for row in rows}.values())
    adding, clashing = fitted(wanted, standing)
    if clashing and strict:
        raise RosterRefused(clashing[0].words)
    added = await insert_shifts(connection, adding, by, now)
    await connection.execute(Q["set_horizon"], community_id, pattern_id, stored.version, until)
    return Made(len(added), len(cancelled), tuple(clashing), until)


DAYS_AHEAD = 14
"""So far ahead shifts are made when a rota is saved, and kept made."""


def horizon(now: datetime) -> datetime:
    return now + timedelta(days=DAYS_AHEAD)
