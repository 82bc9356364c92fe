"""The cockpit's static files: cached by what their names promise, shut to everything off-origin."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

CSP = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; media-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Scripts only from files. Inline styles are allowed because chart tooltips position themselves with them."""
_HASHED = re.compile(r"[.-][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_FOREVER = "public, max-age=31536000, immutable"
_ASK = "no-cache"
_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
_MISSING = """<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>LinHub 邻枢</title>
<body><h1>驾驶舱尚未构建</h1><p>请运行 <code>make cockpit</code>，然后刷新本页。
接口在 <code>/api/v1</code> 照常工作。</p>
<h1 lang="en">The cockpit is not built</h1><p lang="en">Run <code>make cockpit</code> and reload this page.
The API at <code>/api/v1</code> works as usual.</p></body></html>"""


class Cockpit:
    """Serves one folder; looks at it at each request, so a new build needs no restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._build: tuple[tuple[int, int], str] | None = None

    def build(self) -> str:
        """A name of the built page that changes with it; `unbuilt` where there is none."""
        try:
            stat = self._index.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if self._build is None or self._build[0] != mark:
                self._build = (mark, hashlib.sha256(self._index.read_bytes()).hexdigest()[:16])
        except OSError:
            return "unbuilt"
        return self._build[1]

    @property
    def _index(self) -> Path:
        return self._folder / "index.html"

    async def page(self, request: Request) -> Response:
        """A file of the build; for every other path the page, or under `/m` the phone's: they route by themselves."""
        response = self._find(request.path_params.get("path", ""))
        response.headers["Content-Security-Policy"] = CSP
        return response

    def _find(self, path: str) -> Response:
        file = self._file(path)
        if file is not None and file != self._index:
            caching = _FOREVER if _HASHED.search(file.name) else _ASK
            media_type = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
            return FileResponse(file, media_type=media_type, headers={"Cache-Control": caching})
        if Path(path).suffix and file is None:
            return Response("not found\n", status_code=404, media_type="text/plain", headers={"Cache-Control": _ASK})
        page = self._folder / "phone.html" if path == "m" or path.startswith("m/") else self._index
        if page.is_file():
            return FileResponse(page, media_type="text/html", headers={"Cache-Control": _ASK})
        return HTMLResponse(_MISSING, status_code=503, headers={"Cache-Control": "no-store"})

    def _file(self, path: str) -> Path | None:
        """The file the path names, if it lies in the folder; nothing outside can be named."""
        if not path or "\0" in path:
            return None
        file = (self._folder / path).resolve()
        return file if file.is_relative_to(self._folder) and file.is_file() else None
