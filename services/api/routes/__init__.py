"""The API's routes: one file a resource, and the list of them all."""

from __future__ import annotations

from fastapi import APIRouter

from services.api.routes import (
    alerts,
    auth,
    catalogue,
    communities,
    devices,
    households,
    kpis,
    order_classes,
    orders,
    plans,
    proofs,
    rollups,
    rule_overrides,
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
    order_classes.router,
    plans.router,
    kpis.router,
    proofs.router,
    rules.router,
    rule_overrides.router,
    system.router,
    stream.router,
)
