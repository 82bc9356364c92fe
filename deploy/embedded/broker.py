"""mosquitto in the sandbox, with the configuration that containers use too."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.embedded import ports, sandbox
from deploy.embedded.errors import StackError
from deploy.embedded.part import Part
from deploy.embedded.secrets import write_private

SHIPPED = Path(__file__).resolve().parents[1] / "broker"
DEVICE_LISTENER = "listener 1883"
SERVICE_LISTENER = "listener 1884"
HEALTH_ACCOUNT = "svc-health"
LEAST_FREE_BYTES = 32 * 1024 * 1024
SAVED = "mosquitto.db"
_ACCOUNT = re.compile(r"^user (svc-[a-z-]+)$", re.MULTILINE)
_PLATFORM = re.compile(r"^\nuser city\.", re.MULTILINE)

_REFUSED = {1: "protocol version", 2: "client id", 3: "server unavailable", 4: "bad user name or password"}


def render(text: str, paths: Mapping[str, str], device_port: int, service_port: int) -> str:
    """The shipped configuration with other paths, listening on loopback at the given ports.

    Raises ValueError when the text has not what is to be replaced, so that an edit there cannot pass unseen.
    """
    lines = text.splitlines()
    listeners = {DEVICE_LISTENER: device_port, SERVICE_LISTENER: service_port}
    for line, port in listeners.items():
        if lines.count(line) != 1:
            raise ValueError(f"the broker's configuration must have one line {line!r}")
        lines[lines.index(line)] = f"listener {port} {ports.LOOPBACK}"
    rendered = []
    used = set()
    for line in lines:
        for shipped, ours in paths.items():
            if shipped in line and not line.startswith("#"):
                line = line.replace(shipped, ours)
                used.add(shipped)
        rendered.append(line)
    if unused := set(paths) - used:
        raise ValueError(f"the broker's configuration does not name {', '.join(sorted(unused))}")
    return "\n".join(rendered) + "\n"


def accounts(acl: str) -> tuple[str, ...]:
    """The service accounts an access list speaks of."""
    return tuple(_ACCOUNT.findall(acl))


class Mosquitto(Part):
    """`secrets` maps each service account to its password, `hash_secret` makes what the broker keeps of one."""

    # Three million waiting messages are saved in 5 s and read back in 25 s (bench.broker_queue).
    stop_timeout_s = 60.0
    ready_timeout_s = 300.0
    sandboxed = True

    def __init__(
        self,
        home: Path,
        root: Path,
        device_port: int,
        service_port: int,
        secrets: Mapping[str, str],
        hash_secret: Callable[[str], str],
        extra_acl: str = "",
    ) -> None:
        super().__init__("mosquitto", home)
        self.root = root
        self.device_port = device_port
        self.service_port = service_port
        self.secrets = secrets
        self.hashes = {name: hash_secret(secret) for name, secret in secrets.items()}
        self.extra_acl = extra_acl
        self.folder = home / "mosquitto"
        self.password_file = self.folder / "identity" / "passwords"
        self.access_head = self.folder / "config" / "acl"
        """What the access list begins with; `linhub identity` puts the platforms behind it."""
        self._read_version = (0, 0)

    def environment(self) -> Mapping[str, str]:
        return sandbox.ENVIRONMENT

    def command(self, info_fd: int | None) -> Sequence[str]:
        # The folders stand where a container has them, so the shipped paths hold.
        inside = {f"/mosquitto/{name}": self.folder / name for name in ("config", "data", "identity")}
        readable = {path: outside for path, outside in inside.items() if not path.endswith("/data")}
        writable = {path: outside for path, outside in inside.items() if path.endswith("/data")}
        argv = ["mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]
        return sandbox.command(self.root, argv, readable=readable, writable=writable, info_fd=info_fd)

    def prepare(self) -> None:
        for folder in (self.folder, *(self.folder / name for name in ("config", "data", "identity"))):
            folder.mkdir(mode=0o700, exist_ok=True)
        shipped = (SHIPPED / "mosquitto.conf").read_text(encoding="utf-8")
        write_private(
            self.folder / "config" / "mosquitto.conf", render(shipped, {}, self.device_port, self.service_port)
        )
        head = (SHIPPED / "acl").read_text(encoding="utf-8") + self.extra_acl
        write_private(self.access_head, head)
        self._admit_services(head)
        self._read_version = self._password_version()
        if (full := self._disk_full()) is not None:
            raise StackError(full)

    def _admit_services(self, head: str) -> None:
        """Services may log in from the start; devices and platforms that were admitted before stay so."""
        access = self.folder / "identity" / "acl"
        try:
            read = access.read_text(encoding="utf-8")
        except FileNotFoundError:
            read = ""
        platforms = _PLATFORM.search(read)
        write_private(access, head + (read[platforms.start() :] if platforms else ""))
        try:
            known = self.password_file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            known = []
        devices = [line for line in known if line and not line.startswith("svc-")]
        services = [f"{name}:{hashed}" for name, hashed in sorted(self.hashes.items())]
        write_private(self.password_file, "".join(f"{line}\n" for line in [*services, *devices]))

    def waiting_for(self) -> str | None:
        for port in (self.service_port, self.device_port):
            # On the devices' listener the login name is the client id, so the probe is the same on both.
            code = connect(port, HEALTH_ACCOUNT, self.secrets[HEALTH_ACCOUNT])
            if code is None:
                return f"nothing answers at {ports.LOOPBACK}:{port}"
            if code != 0:
                return f"the broker refuses a login: {_REFUSED.get(code, 'not authorised')}"
        return self._disk_full()

    def trouble(self) -> str | None:
        return save_trouble(self.folder / "data")

    def _disk_full(self) -> str | None:
        return disk_trouble(self.folder / "data")

    def reload(self) -> bool:
        """Makes it read its password file and access list again."""
        self._read_version = self._password_version()
        return self.signal(signal.SIGHUP)

    def reload_if_changed(self) -> None:
        """Whoever replaces the password file need not know the broker's process."""
        if self.alive and self._password_version() != self._read_version:
            self.reload()

    def _password_version(self) -> tuple[int, int]:
        try:
            found = self.password_file.stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)


def disk_trouble(data: Path, needed: int = 0) -> str | None:
    """None when the broker has room to save `needed` bytes in its folder `data`. It says nothing of that itself."""
    free = shutil.disk_usage(data).free
    if free < LEAST_FREE_BYTES:
        return "the disk is full: the broker could not save what waits for delivery"
    if free < needed:
        return f"the disk is nearly full: {free:,} bytes are free and the broker's next save takes {needed:,}"
    return None


def save_trouble(data: Path, needed: int = 0) -> str | None:
    """As `disk_trouble`; also when a full disk had the broker replace its saved sessions by an empty file.

    mosquitto 2.0.21 does so without a word. The next save after there is room puts a whole file in its place.
    """
    if (full := disk_trouble(data, needed)) is not None:
        return full
    try:
        if (data / SAVED).stat().st_size == 0:
            return "the broker's saved sessions are an empty file, which a full disk makes of them"
    except FileNotFoundError:
        pass
    return None


def connect(port: int, user: str, password: str, host: str = ports.LOOPBACK, timeout_s: float = 2.0) -> int | None:
    """Logs in and out as MQTT 3.1.1 does (sections 3.1, 3.2); the return code, or None when nothing answers."""

    def text(value: str) -> bytes:
        raw = value.encode()
        return len(raw).to_bytes(2, "big") + raw

    clean_with_login = 0b11000010
    body = text("MQTT") + bytes((4, clean_with_login)) + (10).to_bytes(2, "big")
    body += text(f"{user}-probe") + text(user) + text(password)
    if len(body) > 127:
        raise ValueError("the login does not fit a one-byte length")
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=timeout_s) as link:
        link.sendall(bytes((0x10, len(body))) + body)
        answer = b""
        while len(answer) < 4 and (more := link.recv(4 - len(answer))):
            answer += more
        if len(answer) == 4 and answer[0] == 0x20:
            link.sendall(b"\xe0\x00")
            return answer[3]
    return None
