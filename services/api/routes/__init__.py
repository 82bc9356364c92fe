"""The API's routes: one file a resource, and the list of them all."""

from __future__ import annotations

from fastapi import APIRouter

from services.api.routes import (
    alerts,
    auth,
    catalogue,
    communities,
    devices,
    evidence,
    households,
    kpis,
    orders,
    place_codes,
    plans,
    proofs,
    report_desk,
    reports,
    rollups,
    rule_overrides,
    rule_statistics,
    rules,
    series,
    silences,
    stream,
    system,
)

ROUTERS: tuple[APIRouter, ...] = (
    auth.router,
    catalogue.router,
    communities.router,
    devices.router,
    series.router,
    rollups.router,
    alerts.router,
    silences.router,
    households.router,
    orders.router,
    reports.router,
    report_desk.router,
    evidence.router,
    place_codes.router,
    plans.router,
    kpis.router,
    proofs.router,
    rules.router,
    rule_overrides.router,
    rule_statistics.router,
    system.router,
    stream.router,
)
