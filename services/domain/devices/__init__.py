"""The device catalogue (设备目录): one file a kind. Everything that lists kinds, metrics or events reads it here."""

from __future__ import annotations

from services.domain.devices.kind import DeviceKind

CATALOGUE: tuple[DeviceKind, ...] = ()
BY_NAME: dict[str, DeviceKind] = {kind.name: kind for kind in CATALOGUE}
