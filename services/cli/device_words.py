"""What `linhub device` says, in the reader's language."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.adapters.registry.fault_words import words
from services.adapters.registry.provision import Fault
from services.cli.home import tr

_STEPS = {
    "reading": ("reading", "读取"),
    "checking": ("checking", "校验"),
    "writing": ("writing devices", "写入设备"),
    "secrets": ("making secrets", "生成密钥"),
    "committing": ("committing", "提交"),
    "done": ("done", "完成"),
}

_LOGINS = {
    "admitted": ("admitted", "准入"),
    "revoked": ("revoked", "已吊销"),
    "retired": ("retired", "已停用"),
    "behind_gateway": ("through its gateway", "经网关"),
    "no_secret": ("no secret", "无密钥"),
}

COLUMNS = (
    ("id", "编号"),
    ("community", "社区"),
    ("kind", "类型"),
    ("place", "位置"),
    ("gateway", "网关"),
    ("login", "登录"),
    ("online", "在线"),
    ("last seen", "最近上报"),
)


def sentence(fault: Fault) -> str:
    said = words(fault)
    return tr(said.en, said.zh)


def step(name: str) -> str:
    return tr(*_STEPS[name])


def login(name: str) -> str:
    return tr(*_LOGINS[name])


def cells(row: dict[str, Any]) -> list[str]:
    seen = row["last_seen_at"]
    online = "" if row["online"] is None else tr("yes", "是") if row["online"] else tr("no", "否")
    texts = [
        row["id"],
        row["community"],
        row["kind"],
        row["place"],
        row["gateway"] or "",
        login(row["login"]),
    ]
    return [*texts, online, seen.astimezone().strftime("%m-%d %H:%M:%S") if seen else ""]


def plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return "" if value is None else str(value)
