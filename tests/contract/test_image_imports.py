"""What the image holds is enough for every command that compose starts in it: our modules and their packages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.contract.compose import OURS, ROOT, load, stage

PROBE = """
import importlib, json, sys
from importlib.metadata import packages_distributions
allowed = set(sys.argv[2].split())
absent = {name for name, owners in packages_distributions().items()
          if not {owner.lower().replace("_", "-").replace(".", "-") for owner in owners} & allowed}

class Absent:
    \"\"\"The image lacks these packages; whatever imports them optionally goes without, as it will there.\"\"\"
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in absent and not name.startswith(("services", "device_sim", "deploy")):
            raise ModuleNotFoundError(f"the image does not install {name}", name=name)

sys.meta_path.insert(0, Absent)
importlib.import_module(sys.argv[1])
print(json.dumps({name: module.__file__ for name, module in sys.modules.items()
                  if name.split(".")[0] in ("services", "device_sim", "deploy") and getattr(module, "__file__", None)}))
"""

MODULES = sorted(
    {
        service["command"][service["command"].index("-m") + 1]
        for service in load()["services"].values()
        if service["image"] == OURS
    }
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    stage(folder)
    return folder


def installed() -> str:
    """The distributions that the image's own lock files put there."""
    text = (ROOT / "requirements-run.lock").read_text() + (ROOT / "requirements-real.lock").read_text()
    return " ".join(canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.M))


def probe(image: Path, module: str, packages: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(image), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-P", "-c", PROBE, module, packages]
    return subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, check=False)


STARTED = ["services.adapters.monthly.pdf", "services.adapters.monthly.xlsx", "services.adapters.evidence.decoder"]
"""What services start as processes of their own, or import when it is first needed."""


@pytest.mark.parametrize("module", [*MODULES, *STARTED])
def test_image_holds_all_that_a_command_imports(image: Path, module: str) -> None:
    done = probe(image, module, installed())
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)
    assert ours
    assert not {name: file for name, file in ours.items() if not Path(file).is_relative_to(image)}


def test_image_import_check_notices_a_missing_package_and_a_missing_folder(image: Path, tmp_path: Path) -> None:
    without = " ".join(set(installed().split()) - {"asyncpg"})
    assert "the image does not install asyncpg" in probe(image, "services.ingest.main", without).stderr
    assert "No module named" in probe(tmp_path, "services.nothing.main", installed()).stderr


def test_image_holds_the_files_that_modules_read_beside_them(image: Path) -> None:
    for path in ROOT.glob("services/**/*.sql"):
        assert (image / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert {path.name for path in (image / "migrations").iterdir()} >= {p.name for p in ROOT.glob("migrations/*.sql")}
    assert not (image / "services" / "api" / "cockpit" / "src").exists()
    assert (image / "services" / "api" / "cockpit" / "dist" / "index.html").is_file()
