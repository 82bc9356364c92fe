"""Chooses the devices of a performance from the registry: none that somebody is already on the way to."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from device_sim.theatre.api import AccountInfo, Api, Json
from device_sim.theatre.story import Need, Story, StoryError

WITNESS_ROLE = "desk"


@dataclass(frozen=True, slots=True)
class Cast:
    """The devices of one performance; `behind`: those that depend on them, by gateway."""

    community: str
    devices: tuple[Json, ...]
    behind: tuple[Json, ...]
    gateways: dict[str, str]
    kinds: dict[str, str]
    """Of every device of the community."""

    @property
    def ids(self) -> list[str]:
        return [device["id"] for device in self.devices]

    @property
    def building(self) -> str | None:
        building: str | None = self.devices[0]["building_id"]
        return building


def witness_of(accounts: Mapping[str, AccountInfo]) -> str:
    """Whoever is on duty at the desk. Raises StoryError."""
    for account in accounts.values():
        if account.role == WITNESS_ROLE:
            return account.username
    raise StoryError("there is no account of the desk in accounts.json; run `linhub seed`")


async def busy(api: Api, community: str, witness: str) -> tuple[set[str], set[str]]:
    """Devices and buildings with an open alert or an open order."""
    alerts = await api.pages(f"communities/{community}/alerts", as_user=witness, state="open")
    orders = await api.pages(f"communities/{community}/orders", as_user=witness, state="open")
    devices = {item["device_id"] for item in (*alerts, *orders) if item["device_id"]}
    # What concerns a building as a whole names no device.
    buildings = {item["building_id"] for item in (*alerts, *orders) if item["building_id"] and not item["device_id"]}
    return devices, buildings


async def cast(api: Api, community: str, witness: str, story: Story, now_ms: int, *, patient: bool = True) -> Cast:
    """Raises StoryError when there are not enough free devices; that they fall quiet is waited for once."""
    need = story.need
    everything = await api.pages(f"communities/{community}/devices", as_user=witness)
    busy_devices, busy_buildings = await busy(api, community, witness)
    right = [d for d in everything if d["kind"] == need.kind and (need.tag is None or need.tag in d["tags"])]
    free = [
        d
        for d in right
        if d["id"] not in busy_devices and (not need.one_building or d["building_id"] not in busy_buildings)
    ]
    quiet = [d for d in free if now_ms - reading_ms(d) >= need.quiet_s * 1000]
    chosen = _choose(quiet, everything, busy_devices, need)
    if chosen is None and patient and need.quiet_s and len(free) >= need.count:
        # Where everything has just been switched on, all have spoken within the last minute.
        spoke_ms = sorted(reading_ms(device) for device in free)[need.count - 1]
        wait_ms = min(need.quiet_s * 1000, spoke_ms + need.quiet_s * 1000 - now_ms) + 1000
        await asyncio.sleep(wait_ms / 1000)
        return await cast(api, community, witness, story, now_ms + round(wait_ms), patient=False)
    if chosen is not None and need.extras:
        chosen = _extras(chosen, everything, busy_devices, need)
    if chosen is None:
        tagged = f" tagged {need.tag}" if need.tag else ""
        raise StoryError(
            f"{story.name} needs {need.count} × {need.kind}{tagged}{' in one building' if need.one_building else ''}; "
            f"there are {len(right)}, {len(free)} of them without an open alert or order"
            + (f", {len(quiet)} of these silent for {need.quiet_s:g} s" if need.quiet_s else "")
        )
    ids = {device["id"] for device in chosen}
    behind = tuple(d for d in everything if d["gateway_id"] in ids)
    gateways = {d["id"]: d["gateway_id"] for d in everything if d["gateway_id"] is not None}
    kinds = {d["id"]: d["kind"] for d in everything}
    return Cast(community, tuple(chosen), behind, gateways, kinds)


def reading_ms(device: Json) -> int:
    """Of its newest reading, 0 where there is none."""
    return round(datetime.fromisoformat(device["ts"]).timestamp() * 1000) if device["ts"] else 0


def _extras(chosen: list[Json], everything: Sequence[Json], taken: set[str], need: Need) -> list[Json] | None:
    """With those that play beside them; None where there are too few."""
    for kind, count in need.extras:
        free = [d for d in everything if d["kind"] == kind and d["id"] not in taken]
        if len(free) < count:
            return None
        chosen = [*chosen, *random.sample(free, count)]
    return chosen


def _with_behind(free: Sequence[Json], everything: Sequence[Json], need: Need) -> list[Json] | None:
    """Building by building, until so many devices are behind them."""
    homes: dict[str | None, list[Json]] = {}
    for device in free:
        homes.setdefault(device["building_id"], []).append(device)
    buildings = list(homes)
    random.shuffle(buildings)
    behind = Counter(device["gateway_id"] for device in everything)
    chosen: list[Json] = []
    for building in buildings:
        if sum(behind[device["id"]] for device in chosen) >= need.behind:
            break
        chosen += homes[building]
    return chosen if len(chosen) >= need.count else None


def _choose(free: Sequence[Json], everything: Sequence[Json], taken: set[str], need: Need) -> list[Json] | None:
    if need.behind:
        return _with_behind(free, everything, need)
    if not need.one_building:
        return random.sample(list(free), need.count) if len(free) >= need.count else None
    homes: dict[str, list[Json]] = {}
    for device in free:
        if device["building_id"]:
            homes.setdefault(device["building_id"], []).append(device)
    full = {building: devices for building, devices in homes.items() if len(devices) >= need.count}
    neighbours = {
        building: [
            d for d in everything if d["kind"] == need.beside and d["building_id"] == building and d["id"] not in taken
        ]
        for building in full
    }
    preferred = [building for building in full if neighbours[building]] or list(full)
    if not preferred:
        return None
    building = random.choice(preferred)
    return random.sample(full[building], need.count) + neighbours[building][:1]
