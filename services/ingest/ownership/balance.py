"""Who should own what: the same answer for everybody who asks with the same picture, and few moves from where it is."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence

from services.domain.ids import PARTITIONS

STRAYS = -1
"""Beside the partitions, what belongs to none: one more thing to own. The ledger counts it under the same number."""

SLOTS: tuple[int, ...] = (STRAYS, *range(PARTITIONS))


def balance(workers: Collection[str], owners: Mapping[int, str], slots: Sequence[int] = SLOTS) -> dict[int, str]:
    """slot → the worker that should own it; empty where there is no worker.

    Nobody gets more than one slot above anybody else. Whoever owns a slot keeps it unless it owns too many; what is
    given up, and who gets what nobody owns, is decided by rendezvous hashing, so that it is nobody's decision.
    """
    if not workers:
        return {}
    held: dict[str, list[int]] = {worker: [] for worker in workers}
    for slot in slots:
        if (owner := owners.get(slot, "")) in held:
            held[owner].append(slot)
    share, more = divmod(len(slots), len(held))
    # Whoever has the most keeps the odd ones: taking them away would be a move more.
    by_size = sorted(held, key=lambda worker: (-len(held[worker]), worker))
    room = {worker: share + (place < more) for place, worker in enumerate(by_size)}
    wanted: dict[int, str] = {}
    for worker, mine in held.items():
        for slot in sorted(mine, key=lambda slot: _weight(worker, slot), reverse=True)[: room[worker]]:
            wanted[slot] = worker
            room[worker] -= 1
    for slot in slots:
        if slot not in wanted:
            worker = max((one for one in room if room[one]), key=lambda one: (_weight(one, slot), one))
            wanted[slot] = worker
            room[worker] -= 1
    return wanted


def alone(workers: Collection[str], owners: Mapping[int, str], slots: Sequence[int] = SLOTS) -> dict[int, str]:
    """Everything to one: to the owner of the strays, or to the first in order."""
    if not workers:
        return {}
    owner = owners.get(STRAYS, "")
    return dict.fromkeys(slots, owner if owner in workers else min(workers))


def _weight(worker: str, slot: int) -> int:
    return zlib.crc32(f"{slot}:{worker}".encode())
