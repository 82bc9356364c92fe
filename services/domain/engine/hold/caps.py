"""Rate caps: how many orders a device and a community may cause in an hour; what is over waits for room."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_MS = 60 * 60_000
DEVICE_AN_HOUR = 6
COMMUNITY_LEAST = 30
DEVICES_AN_ORDER = 20
"""A community's cap grows with its devices: one order for so many."""
STEP_MS = 60_000
"""Orders of a community are counted by the minute, so that what is remembered stays small."""

Sent = list[list[int]]
"""[[begin of the step, orders], …], oldest first."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Orders an hour that are not of life safety."""

    device: int
    community: int


def caps_of(devices: int, device: int | None = None, community: int | None = None) -> Caps:
    """`device`, `community`: what the community set for itself."""
    return Caps(
        DEVICE_AN_HOUR if device is None else device,
        max(COMMUNITY_LEAST, devices // DEVICES_AN_ORDER) if community is None else community,
    )


def recent(sent: Sent, now_ms: int, step_ms: int = 1) -> Sent:
    """Without what has left the window."""
    return [entry for entry in sent if now_ms < entry[0] + step_ms - 1 + WINDOW_MS]


def room_at(sent: Sent, cap: int, now_ms: int, step_ms: int = 1) -> int:
    """When there is room for one more, epoch ms; `now_ms` where there is now. A cap of 0 lets nothing through and is
    asked again an hour from now."""
    if cap <= 0:
        return now_ms + WINDOW_MS
    kept = recent(sent, now_ms, step_ms)
    over = sum(count for _, count in kept) - cap
    for begins, count in kept:
        if over < 0:
            break
        over -= count
        if over < 0:
            return begins + step_ms - 1 + WINDOW_MS
    return now_ms


def counted(sent: Sent, now_ms: int, step_ms: int = 1) -> Sent:
    """One more."""
    kept = recent(sent, now_ms, step_ms)
    begins = now_ms - now_ms % step_ms
    if kept and kept[-1][0] >= begins:
        return [*kept[:-1], [kept[-1][0], kept[-1][1] + 1]]
    return [*kept, [begins, 1]]
