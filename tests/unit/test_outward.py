"""Which addresses somebody else may have us connect to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from services.adapters.outward.addresses import METADATA, Allowed, checked
from services.adapters.outward.target import Target, read

OPEN = Allowed()
REFUSED = {
    "this host": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104
    "loopback": ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
                 "::ffff:0:127.0.0.1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1",
                "::ffff:10.0.0.1", "64:ff9b::a00:1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255", "::ffff:100.64.0.1"],
    "link-local": ["169.254.1.1", "fe80::1", "fe80::1%eth0", "febf::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:7f00:1::1"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "2001:2::1"],
    "reserved": ["192.0.0.1", "240.0.0.1", "255.255.255.255", "100::1", "64:ff9b:1::1", "2001:10::1"],
    "metadata": ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254",
                 "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
    "not global": ["4000::1", "8000::1", "1::1"],
}  # fmt: skip


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in REFUSED.items() for text in texts])
def test_address_that_is_not_of_the_open_internet_is_refused(what: str, text: str) -> None:
    assert checked([text], OPEN) == what


@pytest.mark.parametrize("text", ["1.1.1.1", "114.114.114.114", "2400:3200::1", "2606:4700::1111", "64:ff9b::101:101"])
def test_address_of_the_open_internet_is_not(text: str) -> None:
    assert checked([text], OPEN) == [text]


def test_one_bad_address_of_a_name_spoils_it() -> None:
    assert checked(["1.1.1.1", "10.0.0.1"], OPEN) == "private"
    assert checked(["1.1.1.1", "::ffff:169.254.169.254"], OPEN) == "metadata"


def test_administrators_networks_are_let_through_and_no_others() -> None:
    allowed = Allowed.of(["10.1.0.0/16", "fd12::/32", "127.0.0.1/32"], [443])
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::7", "127.0.0.1"):
        assert checked([text], allowed) == [text]
        assert checked([text], allowed, listed_only=True) == [text]
    assert checked(["10.2.0.1"], allowed) == "private"
    assert checked(["127.0.0.2"], allowed) == "loopback"
    assert checked(["1.1.1.1"], allowed, listed_only=True) == "plain HTTP"
    with pytest.raises(ValueError, match="host bits"):
        Allowed.of(["10.0.0.1/8"], [443])


@pytest.mark.parametrize("text", sorted(str(one) for one in METADATA))
def test_metadata_is_let_through_only_where_it_is_listed_alone(text: str) -> None:
    wide = Allowed.of(["0.0.0.0/0", "::/0"], [443])
    assert checked([text], wide) == "metadata"
    alone = Allowed.of([f"{text}/{ip_address(text).max_prefixlen}"], [443])
    assert checked([text], alone) == [text]


@pytest.mark.parametrize("text", ["0.0.0.0", "224.0.0.1", "ff02::1", "2002:7f00:1::", "2001:0:7f00:1::1", "::"])  # noqa: S104
def test_what_no_list_can_mean_stays_refused(text: str) -> None:
    assert isinstance(checked([text], Allowed.of(["0.0.0.0/0", "::/0"], [443])), str)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.cn", "//example.cn", "ftp://example.cn", "file:///etc/passwd", "gopher://example.cn", "https://",
        "https:///x", "https://user@example.cn/", "https://user:pw@example.cn/", "https://example.cn#x",
        "https://example.cn\\@10.0.0.1/", "https://exa mple.cn/", "https://example.cn/\r\nHost: x", "https://例.cn/",
        "https://example.cn:0/", "https://example.cn:99999/", "https://example.cn:x/", "https://127.1/", "https://0x7f.1/",
        "https://2130706433/", "https://0177.0.0.1/", "https://1.2.3.4.5/", "https://[::1/", "https://[fe80::1%25eth0]/",
        "https://-x.cn/", "https://x..cn/", "https://" + "a" * 64 + ".cn/", "https://" + "x" * 2100,
    ],
)  # fmt: skip
def test_address_that_is_none_is_refused_before_it_is_resolved(url: str) -> None:
    assert not isinstance(read(url), Target)


def test_address_is_read_as_it_is_connected_to() -> None:
    assert read("https://Events.Example.CN/in?x=1") == Target(
        "https://Events.Example.CN/in?x=1", True, "events.example.cn", 443
    )
    plain = read("http://[fd12::7]:8080/")
    assert isinstance(plain, Target) and (plain.secure, plain.host, plain.port) == (False, "fd12::7", 8080)
    assert isinstance(read("https://1.2.3.4/"), Target) and isinstance(read("https://xn--fiq228c.cn/"), Target)
