"""Which scripts of the built cockpit a page can come to load."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.web import COCKPIT

DIST = COCKPIT / "dist"
ROOMS = re.findall(r"import\('\./\w+/(\w+)\.vue'\)", (COCKPIT / "src" / "rooms" / "rooms.ts").read_text())


def assets(suffix: str) -> list[Path]:
    found = sorted(DIST.rglob(f"*{suffix}"))
    assert found, f"no *{suffix} in {DIST}"
    return found


def loaded_by(page: Path) -> set[Path]:
    """Every script that the page can come to load: what it names, and what those import, now or when it is needed.

    Of the rooms behind the cockpit, which load when somebody walks into one, none; they are held to a budget each.
    """
    scripts = {path.name: path for path in assets(".js") if path.name.split("-")[0] not in ROOMS}
    found: set[Path] = set()
    waiting = [page]
    while waiting:
        text = waiting.pop().read_text()
        for name, path in scripts.items():
            if path not in found and name in text:
                found.add(path)
                waiting.append(path)
    return found
