"""The private root: Debian packages unpacked into a folder, never installed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.embedded import apt, tools
from deploy.embedded.errors import StackError
from deploy.embedded.locks import locked

SUITE = "trixie"
PACKAGES = (
    "postgresql-17",
    "postgresql-17-timescaledb",
    "mosquitto",
    # initdb calls a shell; time zones and the C.UTF-8 locale come from the other two.
    "dash",
    "tzdata",
    "libc-bin",
)
POSTGRES_BIN = "usr/lib/postgresql/17/bin"
_LAYOUT = 1
_MARKER = ".linhub-root.json"
_NEEDED = (f"{POSTGRES_BIN}/postgres", f"{POSTGRES_BIN}/initdb", f"{POSTGRES_BIN}/psql", "usr/sbin/mosquitto")
_MERGED = ("bin", "sbin", "lib", "lib64")
_PRUNED = (
    # The compiler for queries that run for seconds: ours do not, and it is a third of everything.
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/aarch64-linux-gnu/libLLVM*",
    "usr/lib/postgresql/17/lib/llvmjit*",
    "usr/lib/postgresql/17/lib/bitcode",
    "usr/share/locale",
    "usr/share/man",
)
_USERS = "root:x:0:0:root:/root:/bin/sh\nlinhub:x:1000:1000:LinHub:/tmp:/bin/sh\n"
_GROUP = "root:x:0:\nlinhub:x:1000:\n"


def digest() -> str:
    """Names what a root of this version holds; another one is unpacked anew."""
    told = json.dumps([_LAYOUT, SUITE, PACKAGES, _PRUNED])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def is_ready(root: Path) -> bool:
    marker = read_marker(root)
    return marker.get("digest") == digest() and all((root / path).exists() for path in _NEEDED)


def read_marker(root: Path) -> dict[str, str]:
    """What the root says of itself: digest and versions. Empty when it is not whole."""
    try:
        told = json.loads((root / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def ensure(root: Path, log: Path) -> None:
    """Unpacks the root unless it is there. Two that try at once: one does it, the other waits.

    The folder appears whole or not at all: it is made beside its place and renamed. Raises StackError.
    """
    if is_ready(root):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(root.with_name(f"{root.name}.lock")):
        if is_ready(root):
            return
        for leftover in root.parent.glob(f"{root.name}.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f"{root.name}.new-", dir=root.parent))
        try:
            work.chmod(0o755)
            _unpack(work / "root", log)
            _finish(work / "root")
            if root.exists():
                root.rename(work / "old")
            (work / "root").rename(root)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _unpack(target: Path, log: Path) -> None:
    tools.ensure(("mmdebstrap",), log)
    mirror = os.environ.get(apt.MIRROR_VARIABLE)
    source = apt.Source((mirror,), (SUITE,), ("main",), {}) if mirror else apt.debian_source(apt.read_sources())
    sources = target.with_name("debian.sources")
    sources.write_text(apt.stanza(source, SUITE), encoding="utf-8")
    # Nothing is run inside the new root, so this needs neither root nor a namespace, and the files are the caller's.
    command = ["mmdebstrap", "--mode=chrootless", "--variant=extract", "--format=directory"]
    command += [f"--include={','.join(PACKAGES)}"]
    command += [f"--aptopt={line}" for line in apt.acquire_options()]
    command += [SUITE, str(target), str(sources)]
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    with log.open("ab") as out:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, check=False)
    if result.returncode != 0:
        raise StackError(
            f"Debian packages could not be unpacked (mmdebstrap ended with {result.returncode})",
            hint="see the log: most often the archive cannot be reached, or the disk is full",
            log=log,
        )


def _finish(root: Path) -> None:
    for name in _MERGED:
        link = root / name
        if not link.exists() and (root / "usr" / name).is_dir():
            link.symlink_to(f"usr/{name}")
    for pattern in _PRUNED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    etc = root / "etc"
    # initdb wants the user it runs as to have a name; inside the sandbox that is always number 1000.
    (etc / "passwd").write_text(_USERS, encoding="utf-8")
    (etc / "group").write_text(_GROUP, encoding="utf-8")
    lacking = [path for path in _NEEDED if not (root / path).exists()]
    if lacking:
        raise StackError(f"the unpacked root has no {', '.join(lacking)}", hint="the archive may lack a package")
    marker = {"digest": digest(), "suite": SUITE, **_versions(root)}
    (root / _MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _versions(root: Path) -> dict[str, str]:
    """Read from the files, since nothing was installed that could be asked."""
    found = {}
    control = root / "usr/share/postgresql/17/extension/timescaledb.control"
    match = re.search(r"default_version\s*=\s*'([^']+)'", control.read_text()) if control.exists() else None
    found["timescaledb"] = match[1] if match else "missing"
    for package in ("postgresql-17", "mosquitto"):
        found[package] = _changelog_version(root / "usr/share/doc" / package)
    return found


def _changelog_version(folder: Path) -> str:
    """The Debian version, from the first line of the package's changelog."""
    for path in sorted(folder.glob("changelog.Debian*")):
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw)[:500].decode(errors="replace")
        match = re.search(r"\(([^)]+)\)", text)
        if match:
            return match[1]
    return "unknown"
