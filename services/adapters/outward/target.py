"""Reads an address somebody gave us to connect to, before anything is resolved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from services.domain.vocabulary import Label

MOST = 2048
_PLAIN = re.compile(r"^[\x21-\x7e]+$")
_HOST = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?$")


@dataclass(frozen=True, slots=True)
class Target:
    """`host` in lower case, ASCII; an IPv6 address without brackets."""

    url: str
    secure: bool
    host: str
    port: int


def read(url: str) -> Target | Label:
    """The target, or what is wrong with it in both languages."""
    if len(url) > MOST:
        return Label("网址过长", "the address is too long")
    if not _PLAIN.match(url) or "\\" in url:
        return Label("网址含空白或非 ASCII 字符，请先编码", "the address has blanks or is not ASCII; encode it first")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Label("网址无效", "that is no address")
    if parts.scheme not in ("http", "https"):
        return Label("网址须以 https:// 开头", "the address has to begin with https://")
    if parts.username is not None or parts.password is not None:
        return Label("网址中不能带用户名或口令", "the address must not hold a user name or password")
    if parts.fragment:
        return Label("网址中不能带 #", "the address must not hold a #")
    host = (parts.hostname or "").lower()
    if port == 0 or not _is_host(host):
        return Label("主机名无效", "that is no host name")
    secure = parts.scheme == "https"
    return Target(url, secure, host, port or (443 if secure else 80))


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return isinstance(ip_address(host), IPv6Address) and "%" not in host
        except ValueError:
            return False
    if len(host) > 253 or not _HOST.match(host):
        return False
    # 0x7f.1, 2130706433 and 127.1 are addresses to a resolver: only the plain form is one here.
    last = host.rstrip(".").rpartition(".")[2]
    if re.fullmatch(r"0x[0-9a-f]*|[0-9]+", last):
        try:
            ip_address(host)
        except ValueError:
            return False
    return True
