"""Runs what was asked to be proven on history: one at a time for the installation, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from services.adapters.queries import Queries
from services.api.store.database import AWAY, Database
from services.domain.rules.rule import Rule
from services.domain.rules.writing import write_rule

log = structlog.get_logger(__name__)
Q = Queries(Path(__file__).with_name("proofs.sql"))

_CODE = str(Path(__file__).resolve().parents[3])

LOCK = 7236014
"""Advisory lock of the one that runs."""
DEADLINE_S = 600.0
MEMORY_MB = 2048
_GRACE_S = 30.0
_LOOK_S = 5.0
_LINE_BYTES = 64 << 20
NAMED = re.compile(r"current|default|[a-z0-9_]+(?:\.[a-z0-9_]+)+@\d{1,9}")
"""Rules that are meant by name; everything else is a document."""

ESTIMATE_DAYS = 7
_ESTIMATE_S = 6.0
_ESTIMATE_DEVICES = 500


class Failed(Exception):
    """What the process said about why it came to nothing."""


class Proofs:
    """`ask` after a row was written; `run` beside the API's other loops, and to its end with them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked = asyncio.Event()

    def ask(self) -> None:
        self._asked.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._asked.clear()
            try:
                while await self._next():
                    pass
            except AWAY as error:
                log.warning("proofs_wait_for_database", why=str(error) or type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._asked.wait()

    async def _next(self) -> bool:
        """Runs the one that waited longest; False where there is none, or another API is at one."""
        async with self._database.hold() as connection:
            if not await connection.fetchval(Q["lock"], LOCK):
                return False
            try:
                await connection.execute(Q["abandon"])
                row = await connection.fetchrow(Q["claim"])
                if row is None:
                    return False
                await self._prove(connection, row)
            finally:
                if not connection.is_closed():
                    await asyncio.shield(connection.fetchval(Q["unlock"], LOCK))
        return True

    async def _prove(self, connection: Any, row: Mapping[str, Any]) -> None:
        log.info("proof_started", proof=str(row["id"]), what=row["what"], community=row["community_id"])
        state, why, result = "done", None, None
        try:
            with tempfile.TemporaryDirectory(prefix="linhub-proof-") as folder:
                arguments = _arguments(row, Path(folder))

                async def moved(share: float) -> None:
                    await connection.execute(Q["progress"], row["id"], share)

                result = await _child(self._database.url, arguments, DEADLINE_S + _GRACE_S, moved)
        except Failed as error:
            state, why = "failed", str(error)
        except asyncio.CancelledError:
            await asyncio.shield(connection.execute(Q["finish"], row["id"], "cancelled", None, "the API stopped"))
            raise
        await connection.execute(Q["finish"], row["id"], state, result, why)
        log.info("proof_ended", proof=str(row["id"]), state=state, why=why)


def _arguments(row: Mapping[str, Any], folder: Path) -> list[str]:
    documents: Mapping[str, str] = row["documents"]
    names = {name: _as_argument(text, folder / f"{name}.yaml") for name, text in documents.items()}
    common = ["--community", row["community_id"], "--from", _time(row["from_at"]), "--to", _time(row["to_at"])]
    common += ["--deadline", str(round(DEADLINE_S)), "--memory-mb", str(MEMORY_MB), "--progress-lines"]
    if row["what"] == "backtest":
        return ["backtest", "--rules", names["rules"], *common]
    return ["diff", names["a"], names["b"], *common]


def _as_argument(text: str, path: Path) -> str:
    """A document goes by way of a file of ours: what people send is never a path."""
    if NAMED.fullmatch(text):
        return text
    path.write_text(text, encoding="utf-8")
    return str(path)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S%z")


async def _child(database_url: str, arguments: list[str], timeout_s: float, moved: Any = None) -> Any:
    """The result it printed. Raises Failed. Whatever ends the wait ends the process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli.main",
        "rules",
        *arguments,
        env={"LINHUB_DATABASE_URL": database_url, "PYTHONPATH": _CODE, "LANG": "C.UTF-8"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    assert process.stdout is not None and process.stderr is not None  # noqa: S101
    errors = asyncio.create_task(_last_of(process.stderr))
    result: Any = None
    try:
        async with asyncio.timeout(timeout_s):
            async for line in process.stdout:
                try:
                    told = json.loads(line)
                except ValueError:
                    raise Failed(f"what it told cannot be read: {line[:200]!r}") from None
                if "result" in told:
                    result = told["result"]
                elif moved is not None:
                    await moved(told["progress"])
            await process.wait()
    except TimeoutError:
        raise Failed(f"it took longer than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        said = (await errors).decode("utf-8", "replace").strip()
    if result is None:
        raise Failed(said[-500:] or f"the process ended with {process.returncode}")
    return result


async def _last_of(stream: asyncio.StreamReader) -> bytes:
    """Read to its end, so that whoever writes never waits; the last of it."""
    last = b""
    while chunk := await stream.read(65_536):
        last = (last + chunk)[-4096:]
    return last


async def history_estimate(database: Database, community_id: str, kind: str, rule: Rule) -> float | None:
    """As `estimate.Estimate`: the rule alone over the last days, a sample of the devices where they are many.

    None where the time was too short to see anything of it; a rule is not refused because the machine is busy.
    """
    begin = datetime.now(UTC) - timedelta(days=ESTIMATE_DAYS)
    with tempfile.TemporaryDirectory(prefix="linhub-rule-") as folder:
        path = Path(folder) / "rule.yaml"
        path.write_text(write_rule(kind, rule), encoding="utf-8")
        arguments = ["backtest", "--rules", str(path), "--community", community_id, "--from", _time(begin)]
        arguments += ["--deadline", str(_ESTIMATE_S), "--sample", str(_ESTIMATE_DEVICES), "--progress-lines"]
        try:
            said = await _child(database.url, [*arguments, "--memory-mb", str(MEMORY_MB)], _ESTIMATE_S + 3)
        except Failed as error:
            log.warning("rule_not_estimated", rule=rule.id, community=community_id, why=str(error))
            return None
    days = (datetime.fromisoformat(said["until"]) - begin).total_seconds() / 86_400
    alerts = said["rules"].get(rule.id, {}).get("alerts", 0)
    if days < 1 or not said["devices"]:
        return None
    return float(alerts / days * said["all_devices"] / said["devices"])
