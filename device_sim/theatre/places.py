"""Where a story finds the API, the broker and its people: the environment first, then what `linhub up` wrote down."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_sim.theatre.api import AccountInfo
from device_sim.theatre.story import StoryError


@dataclass(frozen=True, slots=True)
class Places:
    """`community` is the one whose accounts are there; `credentials` are the devices' broker secrets."""

    api_url: str
    mqtt_url: str
    community: str
    accounts: dict[str, AccountInfo]
    credentials: dict[str, str]


def find_places(home: Path, community: str | None = None, environment: Mapping[str, str] = os.environ) -> Places:
    """Raises StoryError with what to do."""
    stack = _read(home / "run" / "stack.json") or {}
    api_url = environment.get("LINHUB_API_URL") or _noted(stack, "api_url", "url")
    mqtt_url = environment.get("LINHUB_MQTT_URL") or _noted(stack, "device_mqtt_url", "mqtt_url")
    port = (stack.get("ports") or {}).get("mqtt")
    if mqtt_url is None and port is not None:
        mqtt_url = f"mqtt://127.0.0.1:{port}"
    for name, found in (("LINHUB_API_URL", api_url), ("LINHUB_MQTT_URL", mqtt_url)):
        if not found:
            raise StoryError(f"{name} is not set and {home / 'run' / 'stack.json'} does not say; run `linhub up`")
    told = _read(home / "sim" / "accounts.json")
    credentials = _read(home / "sim" / "credentials.json")
    if not told or not credentials:
        raise StoryError(f"{home / 'sim'} holds no accounts and credentials; run `linhub seed`")
    wanted = community or next(account["community_id"] for account in told if account["role"] == "desk")
    accounts = {
        account["username"]: AccountInfo(account["username"], account["password"], account["role"], account["team"])
        for account in told
        if account["community_id"] == wanted
    }
    if not accounts:
        raise StoryError(f"accounts.json knows nobody of {wanted}; run `linhub seed --preset {wanted}`")
    return Places(str(api_url), str(mqtt_url), wanted, accounts, dict(credentials))


def _noted(stack: Mapping[str, Any], *names: str) -> str | None:
    for where in (stack, stack.get("facts") or {}):
        for name in names:
            if where.get(name):
                return str(where[name])
    return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoryError(f"{path} cannot be read: {error}") from None
