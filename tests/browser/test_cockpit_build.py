"""What the build ships: small enough, all of it our own, nothing that a strict content policy would refuse."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.browser.kit import COCKPIT

DIST = COCKPIT / "dist"
JS_BUDGET_BYTES = 320 * 1000

pytestmark = pytest.mark.usefixtures("built")


def _assets(suffix: str) -> list[Path]:
    found = sorted(DIST.rglob(f"*{suffix}"))
    assert found, f"no *{suffix} in {DIST}"
    return found


def test_build_keeps_its_script_budget() -> None:
    size = sum(len(gzip.compress(path.read_bytes(), 9)) for path in _assets(".js"))
    assert size <= JS_BUDGET_BYTES, f"{size} bytes of gzipped script"


def test_build_names_no_other_origin_to_load_from() -> None:
    loads = re.compile(r"""(?:src|href)=["'](?:https?:)?//|url\(["']?(?:https?:)?//|@import|import\(["']https?:""")
    for path in [*_assets(".html"), *_assets(".css"), *_assets(".js")]:
        assert loads.findall(path.read_text()) == [], path.name


def test_build_has_no_inline_script_or_style() -> None:
    page = (DIST / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []


def test_build_ships_chinese_glyphs_once_and_in_one_format() -> None:
    assert len(_assets(".woff2")) > 100
    assert list(DIST.rglob("*.woff")) == []


def test_lock_file_names_no_registry() -> None:
    lock = (COCKPIT / "package-lock.json").read_text()
    assert '"resolved"' not in lock
