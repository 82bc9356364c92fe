"""An OpenID Connect provider over HTTP for tests: discovery, keys, authorization code with PKCE, signed tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "linhub", "secret-of-the-client"
Change = Callable[[dict[str, Any]], None]


def unsigned(claims: Mapping[str, Any]) -> str:
    """A token of the algorithm `none`."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."


def symmetric(claims: Mapping[str, Any], public: str) -> str:
    """Signed with what everybody may read, as if it were a secret."""
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode()
        for one in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    mark = hmac.new(public.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


@dataclass
class Provider:
    """Whoever comes is `subject` by the name `username`. `change` spoils the claims of the next tokens, `write` how
    they are written; `status` is what the token endpoint answers."""

    url: str = ""
    subject: str = "subject-1"
    username: str = "patrol1"
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    published: ECKey | None = None
    change: Change = lambda claims: None
    write: Callable[[Mapping[str, Any]], str] | None = None
    status: int = 200
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    exchanged: int = 0

    async def discovery(self, request: Request) -> Response:
        del request
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }
        )

    async def keys(self, request: Request) -> Response:
        del request
        return JSONResponse({"keys": [(self.published or self.key).as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked["client_id"] != CLIENT or asked["code_challenge_method"] != "S256":
            return JSONResponse({"error": "invalid_request"}, 400)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def token(self, request: Request) -> Response:
        self.exchanged += 1
        if self.status != 200:
            return JSONResponse({"error": "server_error"}, self.status)
        form = {name: str(value) for name, value in (await request.form()).items()}
        given = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            request.headers.get("Authorization") != f"Basic {given}"
            or asked is None
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != challenge.decode()
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self.identity(asked["nonce"])})

    def identity(self, nonce: str) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.url, "sub": self.subject, "aud": CLIENT, "iat": now, "exp": now + 300}
        claims |= {"nonce": nonce, "preferred_username": self.username, "name": "统一身份"}
        self.change(claims)
        if self.write is not None:
            return self.write(claims)
        return jwt.encode({"alg": "ES256", "kid": "one"}, claims, self.key, algorithms=["ES256"])


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    one = Provider()
    routes = [
        Route("/.well-known/openid-configuration", one.discovery),
        Route("/keys", one.keys),
        Route("/authorize", one.authorize),
        Route("/token", one.token, methods=["POST"]),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=0, log_level="error"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign,unused-ignore]
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        one.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield one
    finally:
        server.should_exit = True
        await serving
