"""`linhub seed`: puts a reference community into the database and gives its people and devices their secrets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from device_sim.presets import BY_NAME, PRESETS
from device_sim.presets.generate import DEFAULT_SEED, generate
from device_sim.presets.rosters import rotas
from services.adapters.broker_identity import new_secret, replace_file, secret_hash
from services.adapters.plans.files import load_defaults
from services.adapters.plans.store import take_over_defaults
from services.adapters.queries import Queries
from services.adapters.registry import RegistryError, import_community
from services.adapters.rosters import horizon, make_shifts, patterns, put_pattern, zone_of
from services.adapters.settings import from_environment
from services.api.identity.hashing import Hashing
from services.api.identity.password_settings import PasswordSettings
from services.cli.home import database_url as database_of
from services.cli.home import find_home
from services.domain.ids import DeviceId
from services.domain.registry import Account, Community
from services.domain.vocabulary import Role

Q = Queries(Path(__file__).with_name("seed.sql"))
_PASSWORD_LETTERS = 16
"""80 random bits; letters and digits, to be typed from a screen."""
PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class SeededAccount:
    """Somebody who can log in, with the password in clear: told to whoever runs the demo, kept nowhere else."""

    username: str
    password: str
    role: str
    team: str | None
    display_name: str
    community_id: str
    grid_id: str | None


@dataclass(frozen=True, slots=True)
class Seeded:
    accounts: tuple[SeededAccount, ...]
    devices: int
    community: str
    households: int
    people: int


def accounts_file(home: Path) -> Path:
    return home / "sim" / "accounts.json"


def credentials_file(home: Path) -> Path:
    return home / "sim" / "credentials.json"


def seeds_file(home: Path) -> Path:
    """Which community was seeded how: the simulator lives the same one."""
    return home / "sim" / "seeds.json"


async def seed(database_url: str, home: Path, preset: str, scale: float, *, random_seed: int = DEFAULT_SEED) -> Seeded:
    """Imports the community; a second run keeps every password and secret.

    Raises KeyError for an unknown preset, ValueError for a scale, RegistryError where the database says no.
    """
    community = await asyncio.to_thread(generate, BY_NAME[preset], scale, random_seed)
    connection = await asyncpg.connect(database_url)
    try:
        community = await _own_names(connection, community)
        credentials = _read(credentials_file(home))
        known = {account["username"]: account["password"] for account in _read_list(accounts_file(home))}
        speaking = [device.id for device in community.devices if device.gateway_id is None]
        credentials.update({device: new_secret() for device in speaking if device not in credentials})
        passwords = {
            account.username: known.get(account.username) or new_secret()[:_PASSWORD_LETTERS]
            for account in community.accounts
        }
        # Written first: a secret in the database that nobody knows helps no one.
        told = tuple(_told(account, community, passwords[account.username]) for account in community.accounts)
        others = [a for a in _read_list(accounts_file(home)) if a["username"] not in passwords]
        seeds = {**_read_any(seeds_file(home)), community.id: {"scale": scale, "seed": random_seed}}
        _write(seeds_file(home), seeds)
        _write(credentials_file(home), credentials)
        _write(accounts_file(home), [asdict(account) for account in told] + others)
        await import_community(
            connection,
            community,
            secret_hashes=await _secret_hashes(connection, speaking, credentials),
            password_hashes=await _password_hashes(connection, passwords),
        )
        await _approve_plans(connection, community)
        await _keep_rosters(connection, community)
    finally:
        await connection.close()
    return Seeded(told, len(community.devices), community.id, len(community.households), len(community.people))


async def _approve_plans(connection: asyncpg.Connection[Any], community: Community) -> None:
    """The default plans, written by the administrator and approved by the desk; only those it has nothing of yet."""
    names = {one.role: one.username for one in reversed(community.accounts)}
    rows = await connection.fetch(Q["account_ids"], list(names.values()))
    ids = {row["username"]: row["id"] for row in rows}
    author, approver = ids.get(names.get(Role.ADMIN, "")), ids.get(names.get(Role.DESK, ""))
    if author is None or approver is None:
        return
    documents = {plan_id: one.document for plan_id, one in load_defaults().items()}
    async with connection.transaction():
        await take_over_defaults(connection, community.id, author, approver, documents)


async def _keep_rosters(connection: asyncpg.Connection[Any], community: Community) -> None:
    """The preset's rotas with their shifts; only those the community has nothing of yet, withdrawn ones included."""
    now = datetime.now(UTC)
    async with connection.transaction():
        known = {one.id for one in await patterns(connection, community.id)}
        zone = await zone_of(connection, community.id)
        # From yesterday on: whoever's shift began before midnight is on duty now.
        first = now.astimezone(zone).date() - timedelta(days=1)
        for rota_id, pattern in rotas(community.accounts, first).items():
            if rota_id not in known:
                await put_pattern(connection, community.id, rota_id, pattern, 0, "seed", now)
                await make_shifts(connection, community.id, rota_id, horizon(now), "seed", now, strict=True)


async def _own_names(connection: asyncpg.Connection[Any], community: Community) -> Community:
    """User names are one for the installation: beside another community, this one's carry its id in front."""
    names = [account.username for account in community.accounts]
    taken = await connection.fetch(Q["accounts_of_others"], community.id, names)
    if not taken:
        return community
    accounts = tuple(
        account if account.role is Role.ADMIN else replace(account, username=f"{community.id}-{account.username}")
        for account in community.accounts
    )
    return replace(community, accounts=accounts)


def _told(account: Account, community: Community, password: str) -> SeededAccount:
    return SeededAccount(
        account.username,
        password,
        account.role.value,
        account.team.value if account.team else None,
        account.display_name,
        community.id,
        account.grid_id,
    )


async def _secret_hashes(
    connection: asyncpg.Connection[Any], devices: list[DeviceId], credentials: Mapping[str, str]
) -> dict[DeviceId, str]:
    """The stored hash where it fits the secret, so that seeding again changes no line of the broker's file."""
    stored = {row["id"]: row["secret_hash"] for row in await connection.fetch(Q["stored_secrets"], devices)}
    return {
        device: stored[device]
        if device in stored and fits(credentials[device], stored[device])
        else secret_hash(credentials[device])
        for device in devices
    }


def fits(secret: str, hashed: str) -> bool:
    """Whether `hashed` ($7$iterations$salt$hash) is of this secret."""
    try:
        _, scheme, iterations, salt, digest = hashed.split("$")
        wanted = base64.b64decode(digest)
        found = hashlib.pbkdf2_hmac("sha512", secret.encode(), base64.b64decode(salt), int(iterations))
    except ValueError:
        return False
    return scheme == "7" and hmac.compare_digest(found, wanted)


async def _password_hashes(connection: asyncpg.Connection[Any], passwords: Mapping[str, str]) -> dict[str, str]:
    """The stored hash where it fits the password, whatever it cost."""
    cost = from_environment(PasswordSettings)
    hashing = Hashing(cost.password_memory_kib, cost.password_passes)
    rows = await connection.fetch(Q["stored_passwords"], list(passwords))
    stored: dict[str, str] = {row["username"]: row["password_hash"] for row in rows}

    async def hashed(name: str, password: str) -> str:
        fits_it = name in stored and (await hashing.matches(password, stored[name]))[0]
        return stored[name] if fits_it else await hashing.hash(password)

    # One after the other: each takes 64 MiB while it lasts.
    return {name: await hashed(name, password) for name, password in passwords.items()}


def _read(path: Path) -> dict[str, str]:
    return {key: str(value) for key, value in _read_any(path).items()}


def _read_any(path: Path) -> dict[str, Any]:
    try:
        return {str(key): value for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}


def _read_list(path: Path) -> list[dict[str, Any]]:
    try:
        return [dict(item) for item in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode(), PRIVATE)


def register(app: typer.Typer) -> None:
    @app.command("seed")
    def command(
        preset: Annotated[str, typer.Option(help="One of: " + ", ".join(p.id for p in PRESETS))] = "gongyuan",
        scale: Annotated[float, typer.Option(min=0.001, max=1.0, help="Share of its households and devices.")] = 0.2,
        home: Annotated[Path | None, typer.Option(help="Where secrets are kept; LINHUB_HOME.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Put a reference community into the database; again keeps every password and secret."""
        errors = Console(stderr=True, highlight=False)
        if preset not in BY_NAME:
            errors.print(f"linhub: there is no preset {preset}; there are {', '.join(BY_NAME)}", style="red")
            raise typer.Exit(2)
        folder = home or find_home()
        url = os.environ.get("LINHUB_DATABASE_URL") or database_of(folder)
        if url is None:
            errors.print("linhub: no database; run `linhub up`, or set LINHUB_DATABASE_URL", style="red")
            raise typer.Exit(2)
        try:
            with errors.status(f"{preset} × {scale:g}"):
                done = asyncio.run(seed(url, folder, preset, scale))
        except (RegistryError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            errors.print(f"linhub: {error}", style="red")
            raise typer.Exit(1) from None
        if as_json:
            typer.echo(json.dumps(asdict(done), ensure_ascii=False))
            return
        _show(done, folder)


def _show(done: Seeded, home: Path) -> None:
    table = Table(
        title=f"{done.community}: {done.households} 户 households, {done.people} 人, {done.devices} 台设备 devices"
    )
    for column in ("账号 user", "密码 password", "角色 role", "队伍 team", "姓名 name"):
        table.add_column(column)
    for account in done.accounts:
        table.add_row(account.username, account.password, account.role, account.team or "", account.display_name)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{accounts_file(home)}")
