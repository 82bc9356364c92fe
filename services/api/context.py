"""What every route needs, built once by `create_app` and carried on the application."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from services.adapters.steady_clock import SteadyClock
from services.api.access.credentials import Credentials
from services.api.access.oauth import ClientGrant
from services.api.access.oidc import Oidc
from services.api.identity.auth import Auth
from services.api.identity.upkeep import Upkeep
from services.api.kpis.monthly import MonthlyReports
from services.api.live.hub import Hub
from services.api.live.pictures import Gallery
from services.api.privacy.audit import Watchers
from services.api.privacy.forgetting import Forgetting
from services.api.rules.estimate import Estimate, nothing_known
from services.api.rules.proofs import Proofs
from services.api.settings import ApiSettings
from services.api.store.database import Database
from services.api.uploads.intake import Intake
from services.api.web.cache import Cache
from services.api.web.limits import Buckets, FailureLimit, ReportLimit
from services.api.web.limits import Rate as HourlyRate
from services.api.web.rates import Rate
from services.api.web.static import Cockpit


@dataclass(frozen=True, slots=True)
class Context:
    settings: ApiSettings
    database: Database
    auth: Auth
    credentials: Credentials
    hub: Hub
    cockpit: Cockpit
    curves: Cache
    watchers: Watchers
    clock: SteadyClock
    proofs: Proofs
    report_limit: ReportLimit
    forgetting: Forgetting
    intake: Intake
    upkeep: Upkeep
    gallery: Gallery
    estimate: Estimate = nothing_known
    guesses: FailureLimit = field(default_factory=lambda: FailureLimit(5))
    """Links of notices that never were: 30 a minute and address. 2^128 of them are not guessed anyway."""
    wrong_codes: Rate = field(default_factory=lambda: Rate(5))
    """Codes of screens that are not: so many a minute and account."""
    pairings: Rate = field(default_factory=lambda: Rate(6))
    """Codes that one network may ask for a minute."""
    tiles: Cache = field(default_factory=lambda: Cache(5.0))
    """What tiles and the public show, five seconds old at most."""
    public_limit: Buckets = field(default_factory=lambda: Buckets(HourlyRate(60, 3600)))
    """Requests without a login: sixty at once, one a second in the long run, by address."""
    city_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Of city events, so many pages are read at once: who catches up must not keep logins waiting for a connection."""
    monthly: MonthlyReports = field(default_factory=MonthlyReports)
    clients: ClientGrant | None = None
    """Who knows the clients of platforms and services; None: nobody, and the grant is refused."""
    oidc: Oidc | None = None
    """Another place of login, where one is set."""


async def _context(request: Request) -> Context:
    # A plain function would be called in a thread, for each request.
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]
