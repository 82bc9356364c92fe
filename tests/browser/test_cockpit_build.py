"""What the build ships: small enough, all of it our own, nothing that a strict content policy would refuse."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from deploy.web import COCKPIT
from tests.browser.built import DIST, ROOMS, assets, loaded_by

COCKPIT_BYTES = 320 * 1000
PHONE_BYTES = 110 * 1000
ROOM_BYTES = 16 * 1000
"""What one room may add to the cockpit when somebody walks into it."""

pytestmark = pytest.mark.usefixtures("built")


@pytest.mark.parametrize(("page", "budget"), [("index.html", COCKPIT_BYTES), ("phone.html", PHONE_BYTES)])
def test_build_keeps_the_script_budget_of(page: str, budget: int) -> None:
    scripts = loaded_by(DIST / page)
    assert len(scripts) >= 3
    size = _gzipped(scripts)
    assert size <= budget, f"{page}: {size} bytes of gzipped script in {sorted(path.name for path in scripts)}"


def _gzipped(scripts: set[Path]) -> int:
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in scripts)


def test_build_keeps_the_script_budget_of_every_room() -> None:
    """Beside what the cockpit has loaded already."""
    assert len(ROOMS) >= 12
    cockpit = loaded_by(DIST / "index.html")
    for room in ROOMS:
        (script,) = [path for path in assets(".js") if path.name.split("-")[0] == room]
        size = _gzipped({script, *loaded_by(script)} - cockpit)
        assert size <= ROOM_BYTES, f"{room}: {size} bytes of gzipped script"


def test_build_names_no_other_origin_to_load_from() -> None:
    loads = re.compile(r"""(?:src|href)=["'](?:https?:)?//|url\(["']?(?:https?:)?//|@import|import\(["']https?:""")
    for path in [*assets(".html"), *assets(".css"), *assets(".js")]:
        assert loads.findall(path.read_text()) == [], path.name


def test_build_has_no_inline_script_or_style() -> None:
    for path in assets(".html"):
        page = path.read_text()
        assert re.findall(r"<script(?![^>]*\bsrc=)", page) == [], path.name
        assert re.findall(r"<style|\sstyle=|\son\w+=", page) == [], path.name


def test_build_ships_chinese_glyphs_once_and_in_one_format() -> None:
    assert len(assets(".woff2")) > 100
    assert list(DIST.rglob("*.woff")) == []


def test_lock_file_names_no_registry() -> None:
    lock = (COCKPIT / "package-lock.json").read_text()
    assert '"resolved"' not in lock
