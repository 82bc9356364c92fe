"""Which addresses this system may be told to connect to by people who do not run it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


METADATA = frozenset(
    ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192",
                 "168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
)  # fmt: skip
"""Where clouds hand out credentials (AWS, Azure, Google, Alibaba, Oracle): reached only where one is listed alone."""

_SPECIAL: tuple[tuple[str, tuple[Network, ...]], ...] = (
    ("this host", _networks("0.0.0.0/8", "::/128")),
    ("loopback", _networks("127.0.0.0/8", "::1/128")),
    ("private", _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("carrier-grade NAT", _networks("100.64.0.0/10")),
    ("link-local", _networks("169.254.0.0/16", "fe80::/10")),
    ("multicast", _networks("224.0.0.0/4", "ff00::/8")),
    ("6to4", _networks("2002::/16", "192.88.99.0/24")),
    ("Teredo", _networks("2001::/32")),
    ("documentation", _networks("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("benchmarking", _networks("198.18.0.0/15", "2001:2::/48")),
    ("reserved", _networks("192.0.0.0/24", "240.0.0.0/4", "2001::/23", "100::/64", "5f00::/16", "64:ff9b:1::/48")),
)
"""The IANA registries of special-purpose addresses (RFC 6890 and its updates), by what to call them."""
_NAT64 = ip_network("64:ff9b::/96")
_GLOBAL_V6 = ip_network("2000::/3")
_NEVER = ("this host", "multicast", "6to4", "Teredo")


@dataclass(frozen=True, slots=True)
class Allowed:
    """`networks`: besides the open internet, by an administrator's setting. There, plain HTTP and any port will do."""

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({443, 8443})

    @classmethod
    def of(cls, networks: Iterable[str], ports: Iterable[int]) -> Allowed:
        """Raises ValueError for what is no network; `10.0.0.1/8` has bits beside its mask and is none."""
        return cls(tuple(ip_network(one.strip()) for one in networks if one.strip()), frozenset(ports))

    def lists(self, address: Address) -> bool:
        inner = embedded(address)
        if _special(inner) in _NEVER:
            return False
        return any(
            inner.version == one.version and inner in one and (inner not in METADATA or one.num_addresses == 1)
            for one in self.networks
        )

    def refusal(self, address: Address) -> str | None:
        """What the address is that nobody may have us connect to; None: it may be connected to."""
        inner = embedded(address)
        if self.lists(inner):
            return None
        if inner in METADATA:
            return "metadata"
        if (what := _special(inner)) is not None:
            return what
        if isinstance(inner, IPv6Address) and inner not in _GLOBAL_V6:
            return "not global"
        return None


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for: mapped, compatible, translated; else the address without zone."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    number = int(address)
    if address in _NAT64 or (number >> 32 == 0 and number > 1):
        return IPv4Address(number & 0xFFFF_FFFF)
    # ::ffff:0:a.b.c.d, the translated form of RFC 2765
    if number >> 32 == 0xFFFF_0000:
        return IPv4Address(number & 0xFFFF_FFFF)
    return IPv6Address(number)


def _special(address: Address) -> str | None:
    for what, networks in _SPECIAL:
        if any(address.version == one.version and address in one for one in networks):
            return what
    return None


def checked(texts: Sequence[str], allowed: Allowed, *, listed_only: bool = False) -> list[str] | str:
    """All of a name's addresses, or what one of them is: a name that leads to one bad address leads nowhere.

    `listed_only`: for plain HTTP, which is for the administrator's own networks.
    """
    for text in texts:
        address = ip_address(text.partition("%")[0])
        why = allowed.refusal(address)
        if why is not None:
            return why
        if listed_only and not allowed.lists(address):
            return "plain HTTP"
    return list(texts)
