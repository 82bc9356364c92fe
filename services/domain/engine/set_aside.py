"""Rules that raised an exception on a subject: left alone for a while, then tried again; every other goes on."""

from __future__ import annotations

from services.domain.engine.subjects import Compiled, Roster, Subject
from services.domain.ids import RuleId

FIRST_MS = 60_000
LONGEST_MS = 3_600_000


class SetAside:
    """A life-safety rule is never left alone: what made it stumble may be one bad message, and the next is a call."""

    def __init__(self) -> None:
        self.entries: dict[tuple[RuleId, str], tuple[int, int]] = {}
        """(rule, subject) → not before this time, and how long that was; server times, ms."""

    def __len__(self) -> int:
        return len(self.entries)

    def rests(self, one: Compiled, subject: Subject, now_ms: int) -> int | None:
        """Until when the rule is to be left alone there; None: it may be asked."""
        entry = self.entries.get((one.rule.id, subject.key))
        return None if entry is None or now_ms >= entry[0] or one.rule.life_safety else entry[0]

    def failed(self, one: Compiled, subject: Subject, now_ms: int) -> bool:
        """Whether it had failed there before, so that what it remembers may be what it stumbles over."""
        key = (one.rule.id, subject.key)
        before = self.entries.get(key)
        pause = FIRST_MS if before is None else min(before[1] * 2, LONGEST_MS)
        self.entries[key] = now_ms + pause, pause
        return before is not None

    def worked(self, one: Compiled, subject: Subject) -> None:
        self.entries.pop((one.rule.id, subject.key), None)

    def carry_over(self, former: SetAside, before: Roster, after: Roster) -> None:
        """A rule that was changed starts with a clean record."""
        for (rule_id, key), entry in former.entries.items():
            subject, known = after.find(key), before.find(key)
            one = subject.rules.by_id.get(rule_id) if subject is not None else None
            was = known.rules.by_id.get(rule_id) if known is not None else None
            if one is not None and was is not None and one.rule == was.rule:
                self.entries[rule_id, key] = entry

    def which(self) -> list[tuple[RuleId, str]]:
        return sorted(self.entries)
