"""Command lines that run a program of the private root under bubblewrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.embedded.root import POSTGRES_BIN

ENVIRONMENT = {
    "PATH": f"/{POSTGRES_BIN}:/usr/bin:/usr/sbin",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own, empty and gone with it
}
"""Given to bwrap's own process, so that no password ever stands in a command line."""

HINT = (
    "bubblewrap may not make a namespace here. As an ordinary user that is allowed by "
    "`sudo sysctl kernel.unprivileged_userns_clone=1` (Debian) or "
    "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu); in a container, by its security profile"
)


def command(
    root: Path,
    argv: Sequence[str],
    *,
    writable: Mapping[str, Path] | None = None,
    readable: Mapping[str, Path] | None = None,
    info_fd: int | None = None,
) -> list[str]:
    """`argv` as process 1 of its own, with `writable` and `readable` (path inside to path outside) and nothing else.

    Own process and IPC namespaces: when the program dies, everything it started is gone, and no shared memory stays.
    The network is the machine's. `info_fd` receives {"child-pid": n}, the program's number outside.
    """
    words = ["bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-ipc"]
    words += ["--as-pid-1", "--die-with-parent", "--cap-drop", "ALL"]
    words += ["--ro-bind", str(root / "usr"), "/usr", "--ro-bind", str(root / "etc"), "/etc"]
    for name in ("bin", "sbin", "lib", "lib64"):
        if (root / name).is_symlink():
            words += ["--symlink", f"usr/{name}", f"/{name}"]
    words += ["--tmpfs", "/tmp", "--dir", "/run", "--dev", "/dev"]  # noqa: S108
    for inside, outside in (readable or {}).items():
        words += ["--ro-bind", str(outside), inside]
    for inside, outside in (writable or {}).items():
        words += ["--bind", str(outside), inside]
    if info_fd is not None:
        words += ["--info-fd", str(info_fd)]
    return [*words, "--chdir", "/", "--", *argv]
