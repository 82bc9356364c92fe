"""What a small city platform keeps: every event once, in a SQLite file, and what was wrong with what came."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.cli.city_sim_proof import Event

_TABLES = """
CREATE TABLE IF NOT EXISTS event (
    source TEXT NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL,
    version INTEGER, mark TEXT NOT NULL, at TEXT, came_at TEXT NOT NULL, lag_s REAL, data TEXT NOT NULL,
    whole INTEGER NOT NULL, late INTEGER NOT NULL, times INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (source, id)
) STRICT;
CREATE INDEX IF NOT EXISTS event_sequence ON event (sequence);
CREATE INDEX IF NOT EXISTS event_subject ON event (subject, version);
CREATE TABLE IF NOT EXISTS link (previous INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS pulled (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS refused (why TEXT PRIMARY KEY, times INTEGER NOT NULL, last_at TEXT NOT NULL) STRICT;
"""
_LAGS = 1000
"""The newest so many are what is said of lag."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`late`: came for the first time after one with a greater sequence. `missing`: versions of orders that lie between
    two that came, which only a subscription to all of `order.*` can expect. `gaps`: events that others named as the one
    before them, and that never came; by MQTT alone. Lags in seconds."""

    events: int
    again: int
    late: int
    missing: int
    tests: int
    refused: dict[str, int]
    last: int
    lag_p50: float | None
    lag_p99: float | None
    lag_most: float | None
    gaps: int = 0

    def as_dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


class Book:
    """One process writes; what is kept was committed before anybody is told that it was."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def keep(self, event: Event, now: datetime) -> bool:
        """Whether it is new; one that was had before is only counted."""
        version = event.data.get("version") if event.subject.startswith("order/") else None
        row = self._db.execute(
            "INSERT INTO event "
            "(source, id, sequence, type, subject, version, mark, at, came_at, lag_s, data, whole, late) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
            "?3 > 0 AND ?3 < (SELECT coalesce(max(sequence), 0) FROM event)) "
            "ON CONFLICT (source, id) DO UPDATE SET times = times + 1 RETURNING times",
            (
                event.source, event.id, event.sequence, event.type, event.subject,
                version if isinstance(version, int) else None, event.mark,
                event.time.isoformat() if event.time else None, now.isoformat(),
                (now - event.time).total_seconds() if event.time else None,
                json.dumps(dict(event.data), ensure_ascii=False), event.whole,
            ),
        ).fetchone()  # fmt: skip
        return bool(row[0] == 1)

    def follows(self, previous: int) -> None:
        """An event named the one before it."""
        self._db.execute("INSERT OR IGNORE INTO link VALUES (?)", (previous,))

    @property
    def cursor(self) -> int | None:
        """Up to where everything was pulled; None before the first time."""
        row = self._db.execute("SELECT cursor FROM pulled").fetchone()
        return None if row is None else int(row[0])

    @property
    def since(self) -> int | None:
        """The cursor that has everything behind it from the first event on; None while none came."""
        first = self._db.execute("SELECT min(sequence) FROM event WHERE sequence > 0").fetchone()[0]
        return None if first is None else int(first) - 1

    def pulled(self, cursor: int) -> None:
        self._db.execute(
            "INSERT INTO pulled VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor", (cursor,)
        )

    def refuse(self, why: str, now: datetime) -> None:
        self._db.execute(
            "INSERT INTO refused VALUES (?, 1, ?) "
            "ON CONFLICT (why) DO UPDATE SET times = times + 1, last_at = excluded.last_at",
            (why, now.isoformat()),
        )

    def lacks(self, ids: Iterable[str]) -> list[str]:
        """Of these ids of one source system, those that never came."""
        return [
            id for id in ids if self._db.execute("SELECT 1 FROM event WHERE id = ? LIMIT 1", (id,)).fetchone() is None
        ]

    def newest(self, count: int) -> list[tuple[str, str, str, str, float | None]]:
        """(came at, type, subject, mark, lag), newest first."""
        return self._db.execute(
            "SELECT came_at, type, subject, mark, lag_s FROM event ORDER BY rowid DESC LIMIT ?", (count,)
        ).fetchall()

    def gaps(self) -> int:
        """What was before the first that came was for somebody else, or for another book."""
        gaps = self._db.execute(
            "SELECT count(*) FROM link WHERE previous >= (SELECT min(sequence) FROM event WHERE sequence > 0) "
            "AND NOT EXISTS (SELECT 1 FROM event WHERE sequence = previous)"
        ).fetchone()
        return int(gaps[0])

    def figures(self) -> Figures:
        one = self._db.execute
        events, again, late, tests, last = one(
            "SELECT count(*), coalesce(sum(times - 1), 0), coalesce(sum(late), 0), "
            "count(*) FILTER (WHERE mark = 'Test'), coalesce(max(sequence), 0) FROM event"
        ).fetchone()
        missing = one(
            "SELECT coalesce(sum(high - low + 1 - seen), 0) FROM (SELECT min(version) AS low, max(version) AS high, "
            "count(DISTINCT version) AS seen FROM event WHERE version IS NOT NULL GROUP BY source, subject)"
        ).fetchone()[0]
        lags = sorted(
            row[0]
            for row in one("SELECT lag_s FROM event WHERE lag_s IS NOT NULL ORDER BY rowid DESC LIMIT ?", (_LAGS,))
        )
        return Figures(
            events, again, late, missing, tests, dict(one("SELECT why, times FROM refused ORDER BY why").fetchall()),
            last, _part(lags, 0.5), _part(lags, 0.99), lags[-1] if lags else None, self.gaps(),
        )  # fmt: skip


def _part(lags: list[float], part: float) -> float | None:
    return lags[min(len(lags) - 1, int(len(lags) * part))] if lags else None
