"""An installed LinHub has every file that its code reads beside itself, not the modules alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BESIDE = (".sql", ".yaml")


def test_package_holds_the_statements_and_profiles_that_its_modules_read(tmp_path: Path) -> None:
    build = ["-c", "from setuptools import setup; setup()", "-q", "egg_info", "--egg-base", str(tmp_path)]
    command = [sys.executable, *build, "build_py", "--build-lib", str(tmp_path / "lib")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = {
        path.relative_to(ROOT)
        for path in (ROOT / "services").rglob("*")
        if path.suffix in BESIDE and "node_modules" not in path.parts
    }
    assert any(path.suffix == ".sql" for path in wanted)
    assert any(path.suffix == ".yaml" for path in wanted)
    assert sorted(path for path in wanted if not (tmp_path / "lib" / path).is_file()) == []
