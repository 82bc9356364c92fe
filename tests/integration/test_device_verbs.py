"""`linhub device`: lists read row by row, every fault with its line, all or nothing, secrets kept."""

from __future__ import annotations

import csv
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from services.adapters.registry.provision import Fault
from services.cli.device_file import FileError, device_of, rows_of
from services.cli.device_words import sentence
from services.cli.main import app
from services.cli.seed import fits

HEAD = "id,community,kind,name,place,gateway,floor,x,y,codec,address,tags\n"


@pytest.fixture
async def url(database_url: str) -> str:
    db = await asyncpg.connect(database_url)
    await db.execute(
        """
        INSERT INTO street VALUES ('s', 'c', 'd', 'n');
        INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents)
        SELECT id, 's', id, 3, 30, 120, 0, 0 FROM unnest(ARRAY['c1', 'c2']) AS id;
        """
    )
    await db.close()
    return database_url


def linhub(url: str, *arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
    """In this process, which saves most of the time; in a thread, because it runs a loop of its own."""
    told = {"LINHUB_DATABASE_URL": url, "LC_ALL": "C.UTF-8", **environment}
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(CliRunner().invoke, app, ["device", *arguments], env=told).result(60)
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def fetch(url: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    db = await asyncpg.connect(url)
    try:
        return list(await db.fetch(query, *arguments))
    finally:
        await db.close()


def secrets(path: Path) -> dict[str, str]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row["secret"] for row in csv.DictReader(file)}


CREDENTIALS = (
    "SELECT d.id, c.secret_hash, c.revoked_at, c.created_at FROM device_credential AS c "
    "JOIN device AS d USING (device_no) ORDER BY d.id"
)


async def test_import_gives_secrets_once_and_again_changes_nothing(url: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "\ufeff" + HEAD + "gw-1,c1,gateway,网关,1 号楼,,,,,,,\n"
        "m-1,c1,water_meter,,1 号楼 101,gw-1,1,2.5,3,,00112233,fire_lane water_zone\n"
        "s-1,c1,smoke_detector,,,,,,,,,\n",
        encoding="utf-8",
    )
    told = json.loads(linhub(url, "import", str(path), "--json")[0])
    assert (told["added"], told["changed"], told["unchanged"], told["secrets"]) == (3, 0, 0, 2)
    given = secrets(tmp_path / "list.secrets.csv")
    before = await fetch(url, CREDENTIALS)
    assert {row["id"] for row in before} == set(given) == {"gw-1", "s-1"}
    assert all(fits(given[row["id"]], row["secret_hash"]) for row in before)
    [meter] = await fetch(
        url, "SELECT d.*, g.id AS gateway FROM device d JOIN device g ON g.device_no = d.gateway_no WHERE d.id = 'm-1'"
    )
    assert (meter["gateway"], meter["address"], meter["tags"], meter["floor"]) == (
        "gw-1",
        "00112233",
        ["fire_lane", "water_zone"],
        1,
    )
    told = json.loads(linhub(url, "import", str(path), "--json")[0])
    assert (told["added"], told["changed"], told["unchanged"], told["secrets_file"]) == (0, 0, 3, None)
    assert await fetch(url, CREDENTIALS) == before
    assert files(tmp_path) == ["list.csv", "list.secrets.csv"]
    path.write_text(path.read_text(encoding="utf-8").replace("00112233", "99"), encoding="utf-8")
    told = json.loads(linhub(url, "import", str(path), "--json")[0])
    assert (told["added"], told["unchanged"] + told["changed"]) == (0, 3)
    [meter] = await fetch(url, "SELECT address FROM device WHERE id = 'm-1'")
    assert meter["address"] == "99"


async def test_import_tells_every_fault_with_its_line_and_changes_nothing(url: str, tmp_path: Path) -> None:
    await fetch(url, "INSERT INTO device (id, community_id, kind, name, interval_s) VALUES ('far', 'c2', 'bin', '', 1)")
    path = tmp_path / "list.csv"
    lines = [
        "good,c1,bin,,,,,,,,,",
        "Bad Id,c1,bin,,,,,,,,,",
        "k,c1,teapot,,,,,,,,,",
        "good,c1,bin,,,,,,,,,",
        "nc,c9,bin,,,,,,,,,",
        "far,c1,bin,,,,,,,,,",
        "m,c1,water_meter,,,nobody,,,,,,",
        "self,c1,bin,,,self,,,,,,",
        "f,c1,bin,,,,high,,,,,",
        "svc-x,c1,bin,,,,,,,,,",
        "n,c1,bin,,,,,nan,,,,",
        "a1,c1,water_meter,,,good,,,,,7,",
        "a2,c1,water_meter,,,good,,,,,7,",
        "deep,c1,water_meter,,,a1,,,,,,",
        "cdc,c1,bin,,,,,,,martian,,",
        "more,c1,bin,,,,,,,,,,extra",
    ]
    path.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    _, error = linhub(url, "import", str(path), code=1)
    said = {int(line.split(":")[1]) for line in error.splitlines() if line.startswith(f"{path}:")}
    assert said == set(range(2, len(lines) + 2)) - {2, 13}
    assert "linhub: 14 faults; nothing was changed" in error
    assert [row["id"] for row in await fetch(url, "SELECT id FROM device")] == ["far"]
    assert files(tmp_path) == ["list.csv"]
    assert "14 处错误" in linhub(url, "import", str(path), code=1, LC_ALL="zh_CN.UTF-8")[1]


async def test_add_revoke_rotate_list_show(url: str, tmp_path: Path) -> None:
    told = json.loads(linhub(url, "add", "d-1", "--community", "c1", "--kind", "bin", "--json")[0])
    first = told["secret"]
    [row] = await fetch(url, CREDENTIALS)
    assert fits(first, row["secret_hash"])
    assert "registered already" in linhub(url, "add", "d-1", "--community", "c1", "--kind", "bin", code=1)[1]
    told = json.loads(linhub(url, "rotate", "d-1", "--json")[0])
    [row] = await fetch(url, CREDENTIALS)
    assert fits(told["secret"], row["secret_hash"])
    assert not fits(first, row["secret_hash"])
    # All or none, also here.
    assert "no device nope" in linhub(url, "revoke", "d-1", "nope", code=1)[1]
    assert (await fetch(url, CREDENTIALS))[0]["revoked_at"] is None
    ids = tmp_path / "ids.txt"
    ids.write_text("# those\nd-1\n")
    assert json.loads(linhub(url, "revoke", "--file", str(ids), "--json")[0])["revoked"] == 1
    assert (await fetch(url, CREDENTIALS))[0]["revoked_at"] is not None
    assert "--readmit" in linhub(url, "rotate", "d-1", code=1)[1]
    listed = [json.loads(line) for line in linhub(url, "list", "--revoked", "--json")[0].splitlines()]
    assert [(row["id"], row["login"]) for row in listed] == [("d-1", "revoked")]
    linhub(url, "rotate", "d-1", "--readmit", "--secrets", str(tmp_path / "new.csv"))
    assert fits(secrets(tmp_path / "new.csv")["d-1"], (await fetch(url, CREDENTIALS))[0]["secret_hash"])
    # A file that is there is never written over, and then nothing is rotated.
    before = await fetch(url, CREDENTIALS)
    linhub(url, "rotate", "d-1", "--secrets", str(tmp_path / "new.csv"), code=1)
    assert await fetch(url, CREDENTIALS) == before
    assert (tmp_path / "new.csv").exists()
    shown = json.loads(linhub(url, "show", "d-1", "--json")[0])
    assert (shown["login"], shown["community"]) == ("admitted", "c1")
    assert "secret_hash" not in shown
    linhub(url, "revoke", "d-1", "--retire")
    assert json.loads(linhub(url, "show", "d-1", "--json")[0])["login"] == "retired"
    actions = [row["action"] for row in await fetch(url, "SELECT action FROM audit ORDER BY id")]
    assert actions == [
        "device.provisioned",
        "device.rotated",
        "device.revoked",
        "device.rotated",
        "device.retired",
    ]


async def test_revoked_device_stays_revoked_when_its_list_comes_again(url: str, tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(
        "- id: y-1\n  community: c1\n  kind: bin\n  tags: [a, b]\n- id: y-2\n  community: c1\n  kind: bin\n"
    )
    told = json.loads(linhub(url, "import", str(path), "--json")[0])
    assert told["added"] == 2
    linhub(url, "revoke", "y-1")
    told = json.loads(linhub(url, "import", str(path), "--json")[0])
    assert (told["revoked"], told["secrets"]) == (["y-1"], 0)


def test_addresses_of_two_meters_can_be_swapped(url: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    rows = "gw,c1,gateway,,,,,,,,,\na,c1,water_meter,,,gw,,,,,1,\nb,c1,water_meter,,,gw,,,,,2,\n"
    path.write_text(HEAD + rows)
    linhub(url, "import", str(path))
    path.write_text(HEAD + rows.replace(",1,\n", ",X,\n").replace(",2,\n", ",1,\n").replace(",X,\n", ",2,\n"))
    linhub(url, "import", str(path))
    found = {name: json.loads(linhub(url, "show", name, "--json")[0])["address"] for name in "ab"}
    assert found == {"a": "2", "b": "1"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "missing: id, community, kind"),
        ("x.csv", b"id,community,kind,colour\n", "unknown columns colour"),
        ("x.csv", b"id,community,kind\n\xff\xfe,c,bin\n", "line 2: not UTF-8"),
        ("x.csv", b'id,community,kind\n"a,c1,bin\n', "line 2"),
        ("x.yaml", b"id: a\n", "a list of devices"),
        ("x.yaml", b"- id: a\n  place: {x: 1}\n", "line 2"),
        ("x.yaml", b"- id: [a\n", "x.yaml, line"),
        ("x.txt", b"a\n", ".csv or .yaml"),
    ],
)
def test_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=words):
        list(rows_of(tmp_path / name))


def test_profile_that_is_not_there_is_a_fault() -> None:
    faults: list[Fault] = []
    said = {"id": "a", "community": "c", "kind": "bin", "codec": "zigbee2mqtt", "profile": "made-up"}
    assert device_of(7, said, faults) is None
    assert [(fault.line, fault.fault, fault.value) for fault in faults] == [(7, "no_profile", "made-up")]


def test_lines_are_those_of_the_file_across_quoted_breaks_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('id,community,kind,place\na,c,bin,"two\nlines"\n\nb,c,bin,x\n')
    assert [line for line, _ in rows_of(path)] == [2, 5]


def test_every_fault_has_its_sentence_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[Fault] = []
    said = {"id": "A", "community": "c", "kind": "bin", "floor": "x", "shape": "round", "x": "inf"}
    assert device_of(3, said, faults) is None
    assert {fault.fault for fault in faults} == {"bad_id", "bad_value", "no_column"}
    for language in ("en_US.UTF-8", "zh_CN.UTF-8"):
        monkeypatch.setenv("LC_ALL", language)
        assert all(sentence(fault) for fault in faults)
