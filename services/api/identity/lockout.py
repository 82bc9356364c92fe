"""When failures to log in make somebody wait: a person from one place soon, a person from everywhere late and briefly.

Whoever guesses from elsewhere must not be able to keep the owner out: the wait of a name from everywhere is short, does
not hold where the owner has logged in before, and ends when the desk frees the account.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """From the `free`-th failure on there is a wait, `first_s` long, doubled by each further one up to `most_s`."""

    free: int
    first_s: float
    most_s: float
    forgotten_s: float
    """One failure is forgotten in so long."""


@dataclass(frozen=True, slots=True)
class Tally:
    failures: float = 0.0
    last_at: datetime | None = None
    blocked_until: datetime | None = None

    def blocked(self, now: datetime) -> bool:
        return self.blocked_until is not None and self.blocked_until > now


@dataclass(frozen=True, slots=True)
class Policies:
    pair: Policy
    """A name from one network."""
    name: Policy
    """A name from everywhere."""
    network: Policy
    """A network, whatever the name: a lobby's machine has several users, a guesser thousands."""

    @classmethod
    def of(cls, failures: int) -> Policies:
        return cls(
            pair=Policy(failures, 60, 3600, 3600),
            name=Policy(failures * 10, 60, 900, 30),
            network=Policy(failures * 6, 60, 900, 20),
        )


def counted(tally: Tally, now: datetime, policy: Policy) -> Tally:
    """With one failure more. Credit (below zero) is used up before anything is counted."""
    level = tally.failures
    if level > 0 and tally.last_at is not None:
        level = max(0.0, level - max(0.0, (now - tally.last_at).total_seconds()) / policy.forgotten_s)
    level += 1
    # Five failures within a second have leaked a little already, and are five.
    whole = round(level)
    if whole < policy.free:
        return Tally(level, now)
    doublings = min(whole - policy.free, 20)
    wait_s = min(policy.most_s, policy.first_s * 2**doublings)
    return Tally(level, now, now + timedelta(seconds=wait_s))


def name_key(username: str) -> str:
    """What stands for a name in the table: people type passwords where their name should stand."""
    return hashlib.sha256(username.strip().lower().encode(errors="replace")).hexdigest()[:32]
