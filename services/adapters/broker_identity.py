"""Who may log in at the broker: mosquitto's password file, written whole from the registry."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

SERVICE_ACCOUNTS = ("svc-ingest", "svc-alerts", "svc-api", "svc-health")
"""Accounts of the broker's access list (deploy/broker/acl) that are no devices."""

IDENTITY_ACCOUNT = "svc-identity"
"""Says that a device which was shut out is offline. Its password is new with each file, known to its writer alone."""

SERVICE_PREFIX = "svc-"

_SALT_BYTES = 12
"""mosquitto 2.0 reads no other length."""

_DEVICES = """
SELECT coalesce(string_agg(d.id || ':' || c.secret_hash || chr(10), '' ORDER BY d.id), '') AS lines
FROM device_credential c
JOIN device d USING (device_no)
WHERE c.revoked_at IS NULL AND d.retired_at IS NULL AND NOT starts_with(d.id, $1)
"""
"""As one text: a hundred thousand rows taken apart and put together again would take seconds."""

_NAMESAKES = """
SELECT d.id
FROM device_credential c
JOIN device d USING (device_no)
WHERE c.revoked_at IS NULL AND d.retired_at IS NULL AND starts_with(d.id, $1)
"""


def new_secret() -> str:
    """160 random bits in letters and digits that survive URLs, configuration files and being read aloud."""
    return base64.b32encode(secrets.token_bytes(20)).decode().lower()


def secret_hash(secret: str, *, iterations: int = 1) -> str:
    """`$7$iterations$salt$hash` (PBKDF2-SHA512), as mosquitto keeps passwords.

    One iteration is enough for a secret of `new_secret`'s strength, and a broker that admits ten thousand devices
    after a power cut has no time for more. A password that people choose needs many.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """What the broker is to read. `devices`: a line each, `id:hash`, sorted by id."""

    services: bytes
    devices: bytes

    @property
    def content(self) -> bytes:
        return self.services + self.devices

    @property
    def accounts(self) -> int:
        return self.content.count(b"\n")

    def shut_out(self, before: bytes) -> list[str]:
        """Devices of the file `before` that this one does not let in, or with another secret only, by id."""
        if self.devices and before.endswith(self.devices):
            return []
        lines = set(before.splitlines()).difference(self.devices.splitlines())
        prefix = SERVICE_PREFIX.encode()
        return sorted(line.partition(b":")[0].decode() for line in lines if line and not line.startswith(prefix))


async def write_password_file(connection: Any, path: Path, services: Mapping[str, str], *, mode: int = 0o600) -> int:
    """Writes every device that may log in, and the accounts of `services` (name to hash); how many there are.

    The file is replaced in one step: the broker, told by SIGHUP, reads the old or the new one, never half of it.
    A device named like a service is left out. Raises ValueError for a service that could be taken for a device.
    """
    file = await password_file(connection, services)
    replace_file(path, file.content, mode)
    return file.accounts


async def password_file(connection: Any, services: Mapping[str, str]) -> PasswordFile:
    """As the registry stands. Raises ValueError for a service that could be taken for a device."""
    for name in services:
        if not name.startswith(SERVICE_PREFIX) or ":" in name or "\n" in name:
            raise ValueError(f"a service account is called {SERVICE_PREFIX}…, not {name!r}")
    lines: str = await connection.fetchval(_DEVICES, SERVICE_PREFIX)
    for row in await connection.fetch(_NAMESAKES, SERVICE_PREFIX):
        # One bad name in the registry must not keep every other device out.
        log.error("device_not_admitted", device=row["id"], why="its name is that of a service account")
    return PasswordFile(service_lines(services), lines.encode())


def service_lines(services: Mapping[str, str]) -> bytes:
    return "".join(f"{name}:{hashed}\n" for name, hashed in sorted(services.items())).encode()


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, also across a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
