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
    handovers,
    households,
    kpis,
    order_classes,
    orders,
    place_codes,
    plans,
    proofs,
    rollups,
    rosters,
    rule_overrides,
    rules,
    series,
    shifts,
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
    rosters.router,
    shifts.router,
    handovers.router,
    order_classes.router,
    evidence.router,
    place_codes.router,
    plans.router,
    kpis.router,
    proofs.router,
    rules.router,
    rule_overrides.router,
    system.router,
    stream.router,
)
