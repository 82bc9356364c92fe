"""What the repository promises: two commands, pages that exist, locked packages, no ties to one machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from device_sim.scenarios import STORIES
from services.adapters.settings import ServiceSettings
from services.alerts.settings import AlertSettings
from services.api.settings import ApiSettings
from services.cli.main import app
from services.domain.devices import CATALOGUE
from services.domain.messages import Reason
from services.domain.vocabulary import TEAM_LABELS
from services.ingest.settings import IngestSettings

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
LOCKS = (
    "requirements.lock",
    "requirements-run.lock",
    "requirements-build.lock",
    "requirements-node.lock",
    "requirements-real.lock",
)


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


FOREIGN = re.compile(
    r"(?:registry\.)?(?:npmjs|yarnpkg|npmmirror)\.(?:org|com)|(?:pypi|pythonhosted)\.(?:org|python)|proxy\.golang\.org"
    r"|--(?:extra-)?index[-]url|(?<![\w.])/(?:work|root)/"
)


def test_repository_names_no_package_index_and_no_folder_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path.suffix not in {".png", ".woff2", ".mp3"} and path.name != "Makefile"
        for match in FOREIGN.finditer(text(path))
    ]
    assert not found


def test_repository_check_for_foreign_names_finds_them() -> None:
    slash = "/"
    for line in (
        "https://registry.npmjs" + ".org/x",
        "pypi" + ".org",
        f"see {slash}root{slash}x",
        f"{slash}work{slash}x",
    ):
        assert FOREIGN.search(line), line
    for line in ("bench/work/x", "the work/life", "/workers/", "a /roots/ b"):
        assert not FOREIGN.search(line), line


def targets() -> dict[str, str]:
    """The Makefile's targets and their recipes."""
    makefile = text(ROOT / "Makefile")
    return {match[1]: match[2] for match in re.finditer(r"^([a-z]+):(?!=)[^\n]*\n((?:\t.*\n)*)", makefile, re.M)}


@pytest.mark.parametrize("name", READMES)
def test_readme_starts_with_exactly_two_commands_that_exist(name: str) -> None:
    commands = re.findall(r"^make ([a-z]+)$", text(ROOT / name), re.M)
    assert commands == ["demo", "test"]
    assert set(commands) <= set(targets())


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "faults", "clean"])
def test_makefile_has_the_target_and_says_what_it_does(target: str) -> None:
    assert targets()[target]
    assert re.search(rf"^{target}:.*## \S", text(ROOT / "Makefile"), re.M)


def test_continuous_integration_runs_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert text(script).rstrip().endswith("exec make test")


@pytest.mark.parametrize("python", ["no-such-python", "old"])
def test_makefile_names_a_python_that_is_missing_or_too_old(tmp_path: Path, python: str) -> None:
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    wanted = str(old) if python == "old" else python
    done = subprocess.run(["make", "demo", f"PYTHON={wanted}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert ("Python 3.9.2 is too old" if python == "old" else "no no-such-python here") in done.stderr
    assert "make demo PYTHON=" in done.stderr


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md" and "node_modules" not in path.parts]


def test_documents_link_to_files_that_exist() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text(path))
        if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists()
    ]
    assert not broken


def test_decisions_are_numbered_without_gaps_and_hold_their_four_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        content = text(page)
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
        assert content.startswith(f"# {int(page.name[:4])}. "), page.name
        assert re.findall(r"^## (.+)$", content, re.M) == ["Context", "Decision", "Why", "Consequences"], page.name
        assert len(content.splitlines()) <= 60, f"{page.name} is longer than a page"


def test_licence_is_the_whole_apache_licence_and_the_one_declared() -> None:
    licence = text(ROOT / "LICENSE")
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["license"] == "Apache-2.0"


def test_changelog_has_the_version_of_the_package() -> None:
    version = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", text(ROOT / "CHANGELOG.md"), re.M)


# Locks


def locked(name: str) -> dict[str, str]:
    """Name to version; fails on a line that is no exact version or has no hash."""
    versions: dict[str, str] = {}
    content = re.sub(r"^\s*#.*$", "", text(ROOT / name), flags=re.M).replace("\\\n", " ")
    for line in filter(None, map(str.strip, content.splitlines())):
        requirement, *hashes = re.split(r"\s+--hash=", line)
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", requirement)
        assert match, f"{name}: {line[:60]} is no exact version"
        assert hashes, f"{name}: {requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes), f"{name}: {requirement}"
        versions[canonicalize_name(match[1])] = match[2]
    assert versions
    return versions


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_every_package_with_hashes(name: str) -> None:
    assert locked(name)


def test_locks_agree_with_each_other() -> None:
    everything = locked("requirements.lock")
    for name in ("requirements-run.lock", "requirements-build.lock"):
        for package, version in locked(name).items():
            assert everything.get(package) == version, f"{name}: {package}"


@pytest.mark.parametrize(("lock", "extra"), [("requirements-run.lock", False), ("requirements.lock", True)])
def test_lock_covers_what_the_package_declares(lock: str, extra: bool) -> None:
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    declared = project["dependencies"] + (project["optional-dependencies"]["dev"] if extra else [])
    versions = locked(lock)
    for requirement in map(Requirement, declared):
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"{lock} lacks {requirement.name}"
        assert requirement.specifier.contains(version), f"{lock}: {requirement.name} {version} is not {requirement}"


def test_repository_keeps_no_secrets() -> None:
    kept = [path.name for path in tracked() if path.name == ".env" or path.suffix in {".pem", ".key"}]
    assert not kept
    assert "/.env" in text(ROOT / ".gitignore").splitlines()


# What the pages say about the code


def declared_metrics() -> set[str]:
    """Names as Prometheus shows them: a counter ends in _total."""
    found = set()
    for path in (ROOT / "services").rglob("*.py"):
        for kind, name in re.findall(r"\b(Counter|Gauge|Histogram)\(\s*\"(linhub_[a-z_]+)\"", text(path)):
            found.add(f"{name.removesuffix('_total')}_total" if kind == "Counter" else name)
    return found


def test_operations_page_names_only_figures_that_exist() -> None:
    named = set(
        re.findall(r"linhub_(?:ingest|alerts|api|broker|clock|order)_[a-z_]+", text(ROOT / "docs" / "operations.md"))
    )
    assert sorted(named) == sorted(declared_metrics())


@pytest.mark.parametrize("settings", [IngestSettings, AlertSettings, ApiSettings])
def test_operations_page_names_every_setting_and_its_default(settings: type[ServiceSettings]) -> None:
    page = text(ROOT / "docs" / "operations.md")
    for name, field in settings.model_fields.items():
        row = re.search(rf"^\| .*`(?:LINHUB_)?{name.upper()}`.*$", page, re.M)
        assert row, name
        if isinstance(field.default, int | float):
            names, _, rest = row[0].removeprefix("| ").partition(" | ")
            place = re.findall(r"`(?:LINHUB_)?([A-Z_]+)`", names).index(name.upper())
            if "its kin" not in names:
                assert float(rest.partition(" | ")[0].split(", ")[place]) == field.default, name


def test_operations_page_explains_every_reason_for_quarantine() -> None:
    page = text(ROOT / "docs" / "operations.md")
    assert [reason for reason in Reason if f"`{reason.value}`" not in page] == []


@pytest.mark.parametrize("name", READMES)
def test_readme_lists_the_stories_that_exist_and_their_teams(name: str) -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \|.*\| ([^|]+) \|$", text(ROOT / name), re.M))
    assert list(rows) == [story.name for story in STORIES]
    for story in STORIES:
        assert rows[story.name].split()[0] == TEAM_LABELS[story.expected.team].zh, story.name


@pytest.mark.parametrize("name", READMES)
def test_readme_counts_the_kinds_of_the_catalogue(name: str) -> None:
    match = re.search(r"^- (\d+) (?:kinds of devices|种设备)", text(ROOT / name), re.M)
    assert match is not None
    assert int(match[1]) == len(CATALOGUE)


@pytest.mark.parametrize("name", READMES)
def test_readme_names_every_verb_of_the_command_line(name: str) -> None:
    verbs = set(get_command(app).commands)  # type: ignore[attr-defined]
    section = re.search(r"`\.venv/bin/linhub --help`(.*?)\n\n", text(ROOT / name), re.S)
    assert section is not None
    assert set(re.findall(r"`([a-z][a-z-]*)`", section[1])) == verbs
