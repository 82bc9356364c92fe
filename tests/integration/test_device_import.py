"""`linhub device import` refuses a vendor profile that ingest could not use, by file and line, and writes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from services.cli.device import app
from tests.factory import put_community, small_community

HEAD = "id,community,kind,gateway,codec,address,profile\n"


@pytest.fixture
def place(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    asyncio.run(put_community(database_url, small_community("imp")))
    monkeypatch.setenv("LINHUB_DATABASE_URL", database_url)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("LINHUB_PROFILES", raising=False)
    return tmp_path


def run(file: Path, rows: str) -> Result:
    file.write_text(HEAD + rows)
    return CliRunner().invoke(app, ["import", str(file)])


def count(database_url: str) -> int:
    async def ask() -> int:
        connection = await asyncpg.connect(database_url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM device WHERE id LIKE 'new-%'"))
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_device_import_names_the_line_of_each_profile_that_does_not_fit(place: Path, database_url: str) -> None:
    file = place / "list.csv"
    rows = [
        "new-bridge,imp,gateway,,tasmota,,",
        "new-well,imp,water_meter,,aliyun,,aliyun_water",
        "new-typo,imp,water_meter,,aliyun,,aliyun_watr",
        "new-kind,imp,gas_meter,,aliyun,,aliyun_water",
        "new-spoken,imp,water_meter,,huawei,,aliyun_water",
        "new-behind,imp,water_meter,new-bridge,aliyun,m1,aliyun_water",
    ]
    done = run(file, "\n".join(rows) + "\n")
    assert done.exit_code == 1
    told = done.stderr.rstrip("\n").splitlines()
    assert told[0].startswith(f"{file}:4: there is no vendor profile 'aliyun_watr'; there are: aliyun_smoke, ")
    assert told[1:] == [
        f"{file}:5: vendor profile aliyun_water does not fit (its kind, the device's): water_meter, gas_meter",
        f"{file}:6: vendor profile aliyun_water does not fit (its format, the one that is spoken): aliyun, huawei",
        f"{file}:7: vendor profile aliyun_water does not fit (its format, the one that is spoken): aliyun, tasmota",
        "linhub: 4 faults; nothing was changed",
    ]
    assert count(database_url) == 0


def test_device_import_takes_the_profiles_that_ingest_is_told_of(
    place: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "profiles"
    folder.mkdir()
    (folder / "ours.yaml").write_text("kind: water_meter\ncodec: aliyun\nfields:\n  Total: {metric: total_m3}\n")
    row = "new-meter,imp,water_meter,,aliyun,,ours\n"
    assert run(place / "list.csv", row).exit_code == 1
    monkeypatch.setenv("LINHUB_PROFILES", str(folder))
    done = run(place / "list.csv", row)
    assert done.exit_code == 0, done.output
    assert count(database_url) == 1

    (folder / "ours.yaml").write_text("kind: water_meter\nfields:\n  Total: {metric: litres}\n")
    wrong = run(place / "list.csv", row)
    assert wrong.exit_code == 2
    assert f"{folder / 'ours.yaml'}:3: fields.Total: a water_meter has no metric 'litres'" in wrong.stderr
