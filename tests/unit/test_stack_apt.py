"""Reading the machine's apt configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.embedded import apt
from deploy.embedded.errors import StackError

DEB822 = """\
# the archive
Types: deb deb-src
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
"""


def test_apt_reads_deb822() -> None:
    archive, security = apt.parse_deb822(DEB822)
    assert archive.uris == ("http://mirror.test/debian",)
    assert archive.suites == ("bookworm", "bookworm-updates")
    assert archive.components == ("main", "contrib")
    assert archive.options == {"signed-by": "/usr/share/keyrings/debian-archive-keyring.gpg"}
    assert security.options == {}


@pytest.mark.parametrize("line", ["Enabled: no", "Types: deb-src"])
def test_apt_leaves_out_disabled_and_source_only_stanzas(line: str) -> None:
    assert apt.parse_deb822(f"Types: deb\nURIs: http://a\nSuites: trixie\nComponents: main\n{line}\n") == []


def test_apt_keeps_an_embedded_key_whole() -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----"
    (source,) = apt.parse_deb822(f"Types: deb\nURIs: http://a\nSuites: trixie\nComponents: main\n{key}\n")
    (again,) = apt.parse_deb822(apt.stanza(source, "trixie"))
    assert again.options == source.options
    assert "\n mDMEY\n" in apt.stanza(source, "trixie")


def test_apt_reads_one_line_entries() -> None:
    text = """
    # deb http://commented.test/debian trixie main
    deb http://plain.test/debian bookworm main contrib # tail
    deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] https://signed.test/debian trixie main
    deb-src http://source.test/debian trixie main
    """
    plain, signed = apt.parse_one_line(text)
    assert (plain.uris, plain.suites, plain.components) == (
        ("http://plain.test/debian",),
        ("bookworm",),
        ("main", "contrib"),
    )
    assert signed.options == {"signed-by": "/k/a.gpg /k/b.gpg"}


def test_apt_takes_debian_itself_and_not_its_neighbours() -> None:
    sources = apt.parse_one_line(
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb http://other.test/node nodistro main\n"
        "deb http://mirror.test/debian-security bookworm-security main\n"
        "deb http://mirror.test/debian bookworm contrib\n"
        "deb http://mirror.test/debian bookworm main\n"
    )
    assert apt.debian_source(sources).uris == ("http://mirror.test/debian",)


def test_apt_says_what_to_do_without_a_debian_archive() -> None:
    with pytest.raises(StackError) as caught:
        apt.debian_source(apt.parse_one_line("deb http://archive.test/ubuntu noble main"))
    assert apt.MIRROR_VARIABLE in caught.value.hint


def test_apt_reads_every_file_apt_reads(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://a.test/debian trixie main\n")
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "b.list").write_text("deb http://b.test/debian trixie main\n")
    (parts / "c.sources").write_text("Types: deb\nURIs: http://c.test/debian\nSuites: trixie\nComponents: main\n")
    (parts / "d.list.disabled").write_text("deb http://d.test/debian trixie main\n")
    assert [source.uris[0][7] for source in apt.read_sources(tmp_path)] == ["a", "b", "c"]


def test_apt_stanza_signs_by_the_machines_keyring_where_none_is_named(tmp_path: Path) -> None:
    keyring = tmp_path / "debian.gpg"
    source = apt.Source(("http://a",), ("bookworm",), ("main",), {})
    assert "Signed-By" not in apt.stanza(source, "trixie", keyring)
    keyring.touch()
    text = apt.stanza(source, "trixie", keyring)
    assert f"Signed-By: {keyring}\n" in text
    assert "Suites: trixie\n" in text
