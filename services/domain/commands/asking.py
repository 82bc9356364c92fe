"""What is asked of a device, checked against its kind: which command, which parameters, and what will prove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.domain.devices import BY_NAME
from services.domain.devices.kind import CommandType, DeviceKind, Happens, Shows
from services.domain.vocabulary import Label

APPROVAL_S = 600
"""So long a request waits for a second person."""
LIVES_LEAST_S, LIVES_MOST_S = 5, 3600
MOST_SENDS = 12
"""After so many the broker is not asked again; the device may still answer until the command expires."""
TEXT_MOST, WORD_MOST = 500, 64
NUMBERS: Mapping[str, tuple[int, int]] = {"seconds": (1, 600), "brightness": (0, 100)}
NEAR = 5.0
"""How near a reading must come to what a parameter asked for."""


def command_of(kind: str, name: str) -> CommandType | None:
    known = BY_NAME.get(kind)
    return None if known is None else next((one for one in known.commands if one.name == name), None)


def wrong_params(command: CommandType, params: Mapping[str, Any]) -> Label | None:
    """What cannot be in the parameters; None: they are good."""
    for name, value in params.items():
        if name not in command.params:
            takes = ", ".join(command.params) or "–"
            return Label(f"没有参数 {name}，可用：{takes}", f"{command.name} takes no {name}; it takes: {takes}")
        if name in NUMBERS:
            low, high = NUMBERS[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                return Label(f"{name} 应为 {low} 到 {high} 的数", f"{name} is a number from {low} to {high}")
        elif (
            not isinstance(value, str) or not value.strip() or len(value) > (TEXT_MOST if name == "text" else WORD_MOST)
        ):
            most = TEXT_MOST if name == "text" else WORD_MOST
            return Label(f"{name} 应为 1 到 {most} 个字符", f"{name} is a text of 1 to {most} characters")
    if {"text", "clip"} <= set(command.params) and not {"text", "clip"} & set(params):
        return Label("请给出播报文字 text 或音频 clip", "Say what is to be heard: a text or a clip")
    for name in NUMBERS:
        if name == "brightness" and name in command.params and name not in params:
            return Label("请给出亮度 brightness", "Say how bright: brightness")
    return None


def proof_of(kind: str, name: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """As the ledger keeps it: {"at": place in the stored values, counted from 1, "low", "high"} or {"event"}."""
    command, known = command_of(kind, name), BY_NAME.get(kind)
    if command is None or known is None:
        return None
    match command.proof:
        case Happens(event):
            return {"event": event}
        case Shows() as shows:
            return _shown(known, shows, params)
    return None


def _shown(kind: DeviceKind, shows: Shows, params: Mapping[str, Any]) -> dict[str, Any] | None:
    at = kind.position(shows.metric)
    low, high = shows.low, shows.high
    if shows.param is not None:
        asked = params.get(shows.param)
        if isinstance(asked, bool) or not isinstance(asked, int | float):
            return None
        low, high = asked - NEAR, asked + NEAR
    return None if at is None else {"at": at + 1, "low": low, "high": high}


def lives_s(command: CommandType, asked: float | None) -> int:
    """How long it may be carried out once it is released: as asked, but never longer than its kind allows."""
    if asked is None:
        return command.lives_s
    return round(min(max(asked, LIVES_LEAST_S), command.lives_s, LIVES_MOST_S))


def proving_s(interval_s: float) -> float:
    """How long the readings may take to show it: two reports of the device, and a minute."""
    return 2 * interval_s + 60
