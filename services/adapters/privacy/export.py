"""Everything that is kept about one person, as a ZIP of JSON and CSV (PIPL, article 45: a copy on request)."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, TypeAlias
from uuid import UUID

import asyncpg

from services.adapters.privacy.erase import Gone
from services.adapters.queries import Queries

Q = Queries(Path(__file__).with_name("export.sql"))
Connection: TypeAlias = "asyncpg.Connection[Any]"

_LISTS = (
    "contacts", "consents", "emergency_access", "limits", "devices", "baselines", "events", "alerts", "answers", "orders",
    "reports", "notices", "health_reads",
)  # fmt: skip
_AT_ONCE = 5_000
README = """这里是社区系统保存的关于您的全部信息。person.json：登记；consents.json：同意；contacts.json：紧急联系人；
devices.json 与 readings/*.csv：您佩戴的设备及其读数；alerts.json、orders.json：告警与工单；reports.json：您的上报；
notices.json：发给您的通知；health_reads.json：谁在何时、为何看过您的健康数据。时间为 UTC。

This is everything the community's system keeps about you: person.json is the registry, consents.json what you agreed to,
contacts.json your emergency contacts, devices.json and readings/*.csv what you wear and what it measured, alerts.json and
orders.json what came of it, reports.json what you reported, notices.json what you were told, health_reads.json who looked
at your health data, when and why. Times are UTC.
"""


async def write_export(connection: Connection, person_id: str, out: IO[bytes]) -> dict[str, int]:
    """The whole of one moment; how many rows of what. Raises Gone.

    Inside a transaction of its own. Readings go through in pieces: a year of a wristband fits in no more memory than a
    day.
    """
    counts: dict[str, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        person = await connection.fetchrow(Q["person"], person_id)
        if person is None:
            raise Gone(person_id)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", README)
            account = await connection.fetchrow(Q["account"], person["account_id"])
            archive.writestr(
                "person.json", _json(dict(person) | {"account": dict(account) if account is not None else None})
            )
            for name in _LISTS:
                rows = await connection.fetch(Q[name], person_id)
                counts[name] = len(rows)
                archive.writestr(f"{name}.json", _json([dict(row) for row in rows]))
                if name == "devices":
                    counts["readings"] = sum([await _readings(connection, archive, row) for row in rows])
    return counts


async def _readings(connection: Connection, archive: zipfile.ZipFile, device: Any) -> int:
    metrics = [row["metric"] for row in await connection.fetch(Q["metrics"], device["kind"])]
    count = 0
    with archive.open(f"readings/{device['id']}.csv", "w") as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
        sheet = csv.writer(text)
        sheet.writerow(["ts", *metrics])
        cursor = await connection.cursor(Q["readings"], device["device_no"])
        while rows := await cursor.fetch(_AT_ONCE):
            count += len(rows)
            sheet.writerows([row["ts"].astimezone(UTC).isoformat(), *row["vals"]] for row in rows)
    return count


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not written to an export")
