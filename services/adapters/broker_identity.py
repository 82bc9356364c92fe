"""Who may log in at the broker and what for: mosquitto's password file and access list, written whole from the
registry."""

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

from services.adapters.city.reading import LISTENERS
from services.domain.city.mqtt import folder

log = structlog.get_logger(__name__)

SERVICE_ACCOUNTS = ("svc-ingest", "svc-alerts", "svc-api", "svc-health")
"""Accounts of the broker's access list (deploy/broker/acl) that are no devices."""

IDENTITY_ACCOUNT = "svc-identity"
"""Says that a device which was shut out is offline. Its password is new with each file, known to its writer alone."""

SERVICE_PREFIX = "svc-"

CITY_PREFIX = "city."
"""Logins of city platforms begin so. No device's id and no service's name has a dot in it."""

ACCESS_FILE = "acl"
"""Beside the password file: what deploy/broker/acl says, and behind it who of the city reads what."""

SHIPPED_ACCESS = Path(__file__).resolve().parents[2] / "deploy" / "broker" / "acl"

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

_PLATFORMS = """
SELECT l.name, l.secret_hash, l.subscription_id::text AS subscription
FROM city_broker_login l
JOIN city_subscription s ON s.id = l.subscription_id
JOIN app_user u ON u.id = s.account_id
WHERE s.way = 'mqtt' AND (l.ends_at IS NULL OR l.ends_at > now()) AND u.disabled_at IS NULL AND u.role = ANY ($1)
ORDER BY l.name
"""

_NEXT_END = "SELECT extract(epoch FROM min(ends_at) - now())::float8 FROM city_broker_login WHERE ends_at > now()"


def new_login() -> str:
    return CITY_PREFIX + base64.b32encode(secrets.token_bytes(10)).decode().lower()


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
    """What the broker is to read. `platforms`, `devices`: a line each, `id:hash`, sorted by id. `access`: what is said
    of platforms in the access list."""

    services: bytes
    platforms: bytes
    devices: bytes
    access: bytes = b""

    @property
    def content(self) -> bytes:
        return self.services + self.platforms + self.devices

    @property
    def accounts(self) -> int:
        return self.content.count(b"\n")

    def shut_out(self, before: bytes) -> list[str]:
        """Devices of the file `before` that this one does not let in, or with another secret only, by id."""
        others = (SERVICE_PREFIX.encode(), CITY_PREFIX.encode())
        if self.devices and before.endswith(self.devices):
            # Nobody: unless it is the first devices of the list that are gone.
            _, _, last = before.removesuffix(self.devices).rstrip(b"\n").rpartition(b"\n")
            if not last or last.startswith(others):
                return []
        lines = set(before.splitlines()).difference(self.devices.splitlines())
        return sorted(line.partition(b":")[0].decode() for line in lines if line and not line.startswith(others))

    def platforms_out(self, before: bytes) -> list[str]:
        """The same of city platforms."""
        lines = {line for line in before.splitlines() if line.startswith(CITY_PREFIX.encode())}
        return sorted(line.partition(b":")[0].decode() for line in lines.difference(self.platforms.splitlines()))


async def write_password_file(connection: Any, path: Path, services: Mapping[str, str], *, mode: int = 0o600) -> int:
    """Writes every device that may log in, and the accounts of `services` (name to hash); how many there are.

    The file is replaced in one step: the broker, told by SIGHUP, reads the old or the new one, never half of it.
    A device named like a service is left out. Raises ValueError for a service that could be taken for a device.
    """
    file = await password_file(connection, services)
    write_files(path, file, mode)
    return file.accounts


def write_files(path: Path, file: PasswordFile, mode: int) -> None:
    """Both, the access list first: whoever watches the password file has the broker read both after it.

    The list begins as the one in the broker's own `config` folder does, where that can be seen, else as it is shipped.
    """
    own = path.parent.with_name("config") / ACCESS_FILE
    head = (own if own.is_file() else SHIPPED_ACCESS).read_bytes()
    replace_file(path.with_name(ACCESS_FILE), head + file.access, mode)
    replace_file(path, file.content, mode)


async def password_file(connection: Any, services: Mapping[str, str]) -> PasswordFile:
    """As the registry stands. Raises ValueError for a service that could be taken for a device."""
    for name in services:
        if not name.startswith(SERVICE_PREFIX) or ":" in name or "\n" in name:
            raise ValueError(f"a service account is called {SERVICE_PREFIX}…, not {name!r}")
    lines: str = await connection.fetchval(_DEVICES, SERVICE_PREFIX)
    for row in await connection.fetch(_NAMESAKES, SERVICE_PREFIX):
        # One bad name in the registry must not keep every other device out.
        log.error("device_not_admitted", device=row["id"], why="its name is that of a service account")
    platforms = await connection.fetch(_PLATFORMS, LISTENERS)
    return PasswordFile(
        service_lines(services),
        "".join(f"{row['name']}:{row['secret_hash']}\n" for row in platforms).encode(),
        lines.encode(),
        "".join(map(_access, platforms)).encode(),
    )


def _access(row: Mapping[str, Any]) -> str:
    """A platform reads its own folder. The patterns for devices fit every login, so they are denied to it by name."""
    return f"\nuser {row['name']}\ntopic deny sc/#\ntopic read {folder(row['subscription'])}/#\n"


async def next_end_s(connection: Any) -> float | None:
    """Seconds until the next login of a platform ends by itself."""
    seconds: float | None = await connection.fetchval(_NEXT_END)
    return seconds


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
