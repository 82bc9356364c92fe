"""The cockpit's files: cached by name, never from outside the folder, with a strict policy."""

from __future__ import annotations

from pathlib import Path

import httpx

from services.api.web.static import Cockpit
from tests.api_server import api_server


def build(folder: Path, page: str = "<!doctype html>one") -> None:
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page)
    (folder / "assets" / "index-Bx8sK2pQ.js").write_text("1")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder.parent / "secret.txt").write_text("secret")


async def test_cockpit_files_are_cached_by_what_their_names_promise(database_url: str, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    build(dist)
    async with (
        api_server(database_url, cockpit_dir=dist) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=90) as http,
    ):
        page = await http.get("/")
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src" not in policy
        assert "unsafe-eval" not in policy
        assert "http" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        hashed = await http.get("/assets/index-Bx8sK2pQ.js")
        assert "immutable" in hashed.headers["cache-control"]
        assert hashed.headers["content-type"].startswith("text/javascript")
        assert (await http.get("/favicon.svg")).headers["cache-control"] == "no-cache"
        assert (await http.get("/orders/17")).text == page.text, "the page routes by itself"
        assert (await http.get("/assets/gone-12345678.js")).status_code == 404
        missing = await http.get("/api/v1/orders-of-nobody")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "//etc/passwd"):
            assert "secret" not in (await http.get(path)).text
            assert "root:" not in (await http.get(path)).text
        again = await http.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code in (200, 304)
        schema = (await http.get("/api/v1/openapi.json")).json()
        assert schema["openapi"].startswith("3.")
        assert (await http.get("/docs")).text == page.text, "no documentation page that loads from elsewhere"


async def test_cockpit_not_built_says_how_to_build_it(database_url: str, tmp_path: Path) -> None:
    async with (
        api_server(database_url, cockpit_dir=tmp_path / "none") as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=90) as http,
    ):
        page = await http.get("/")
        assert page.status_code == 503
        assert "make cockpit" in page.text


def test_cockpit_build_name_changes_with_the_page(tmp_path: Path) -> None:
    cockpit = Cockpit(tmp_path / "dist")
    assert cockpit.build() == "unbuilt"
    build(tmp_path / "dist")
    first = cockpit.build()
    assert first == cockpit.build()
    assert len(first) == 16
    build(tmp_path / "dist", "<!doctype html>another")
    assert cockpit.build() != first
