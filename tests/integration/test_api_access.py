"""Every route × every role × own and other community, against the running service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from services.adapters.orders import open_order
from services.adapters.plans.files import load_defaults
from services.adapters.plans.store import take_over_defaults
from services.api.app import create_app
from services.api.guard import Open, Requires
from services.api.main import compose
from services.api.routes import ROUTERS
from services.api.settings import ApiSettings
from services.domain.access import Permission, allowed
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Source
from services.domain.vocabulary import Label, Role, Severity, Team
from tests.api_data import raise_alert, set_state
from tests.api_server import KEY, api_server, client, connect
from tests.factory import PASSWORD, put_community, small_community
from tests.said import lasting

P = Permission
ROUTES: dict[tuple[str, str], Permission] = {
    ("POST", "/auth/login"): P.ANYONE,
    ("POST", "/auth/logout"): P.SELF,
    ("GET", "/auth/me"): P.SELF,
    ("GET", "/auth/options"): P.ANYONE,
    ("POST", "/auth/refresh"): P.ANYONE,
    ("POST", "/auth/token"): P.ANYONE,
    ("GET", "/auth/oidc/start"): P.ANYONE,
    ("GET", "/auth/oidc/callback"): P.ANYONE,
    ("GET", "/auth/sessions"): P.SELF,
    ("DELETE", "/auth/sessions/{session_id}"): P.SELF,
    ("POST", "/auth/sessions/end-others"): P.SELF,
    ("POST", "/auth/password"): P.SELF,
    ("GET", "/users"): P.USERS_HELP,
    ("POST", "/users/search"): P.USERS_HELP,
    ("POST", "/users"): P.USERS,
    ("GET", "/users/{user_id}"): P.USERS_HELP,
    ("PUT", "/users/{user_id}"): P.USERS,
    ("POST", "/users/{user_id}/disable"): P.USERS,
    ("POST", "/users/{user_id}/enable"): P.USERS,
    ("POST", "/users/{user_id}/password"): P.USERS_HELP,
    ("POST", "/users/{user_id}/free"): P.USERS_HELP,
    ("POST", "/users/{user_id}/external-identity"): P.USERS,
    ("DELETE", "/users/{user_id}/external-identity"): P.USERS,
    ("GET", "/users/{user_id}/sessions"): P.USERS,
    ("DELETE", "/users/{user_id}/sessions/{session_id}"): P.USERS,
    ("POST", "/users/{user_id}/sessions/end"): P.USERS,
    ("GET", "/catalogue"): P.CATALOGUE,
    ("GET", "/communities"): P.COMMUNITY,
    ("GET", "/communities/{community_id}"): P.COMMUNITY,
    ("GET", "/communities/{community_id}/public"): P.PUBLIC_VALUES,
    ("GET", "/communities/{community_id}/snapshot"): P.COCKPIT,
    ("GET", "/communities/{community_id}/stream"): P.COCKPIT,
    ("GET", "/communities/{community_id}/devices"): P.DEVICES,
    ("GET", "/communities/{community_id}/elders"): P.COCKPIT,
    ("GET", "/people/{person_id}/wellbeing"): P.HOUSEHOLD,
    ("GET", "/communities/{community_id}/person-tags"): P.PEOPLE,
    ("GET", "/communities/{community_id}/people"): P.PEOPLE,
    ("POST", "/communities/{community_id}/people"): P.PEOPLE_EDIT,
    ("POST", "/communities/{community_id}/people/search"): P.PEOPLE,
    ("POST", "/communities/{community_id}/people/import"): P.PEOPLE_EDIT,
    ("GET", "/communities/{community_id}/people/export"): P.PEOPLE_EDIT,
    ("GET", "/me/household"): P.HOUSEHOLD,
    ("GET", "/people/{person_id}"): P.HOUSEHOLD,
    ("PUT", "/people/{person_id}"): P.PEOPLE_EDIT,
    ("DELETE", "/people/{person_id}"): P.PEOPLE_EDIT,
    ("POST", "/people/{person_id}/reveal"): P.PEOPLE,
    ("POST", "/people/{person_id}/move-out"): P.PEOPLE_EDIT,
    ("GET", "/people/{person_id}/consents"): P.HOUSEHOLD,
    ("POST", "/people/{person_id}/consents"): P.HOUSEHOLD,
    ("POST", "/consents/{consent_id}/withdraw"): P.HOUSEHOLD,
    ("POST", "/people/{person_id}/emergency-access"): P.HEALTH,
    ("GET", "/communities/{community_id}/emergency-access"): P.PRIVACY,
    ("GET", "/people/{person_id}/health-reads"): P.HOUSEHOLD,
    ("GET", "/people/{person_id}/export"): P.HOUSEHOLD,
    ("POST", "/people/{person_id}/erase"): P.PRIVACY,
    ("POST", "/erasures/{erasure_id}/approve"): P.PEOPLE_EDIT,
    ("DELETE", "/erasures/{erasure_id}"): P.PRIVACY,
    ("GET", "/communities/{community_id}/erasures"): P.PEOPLE_EDIT,
    ("GET", "/communities/{community_id}/retention"): P.COMMUNITY,
    ("PUT", "/communities/{community_id}/retention/{name}"): P.PRIVACY,
    ("GET", "/devices/{device_id}"): P.DEVICES,
    ("GET", "/devices/{device_id}/readings"): P.READINGS,
    ("GET", "/communities/{community_id}/series/{name}"): P.SERIES,
    ("GET", "/devices/{device_id}/rollups"): P.READINGS,
    ("GET", "/communities/{community_id}/rollups"): P.SERIES,
    ("GET", "/communities/{community_id}/states"): P.DEVICES,
    ("GET", "/communities/{community_id}/readings"): P.READINGS,
    ("GET", "/communities/{community_id}/export/readings"): P.EXPORT,
    ("GET", "/communities/{community_id}/tiles"): P.COCKPIT,
    ("GET", "/communities/{community_id}/forecasts"): P.FORECASTS,
    ("GET", "/communities/{community_id}/forecasts/{name}"): P.FORECASTS,
    ("GET", "/communities/{community_id}/facilities"): P.FACILITIES,
    ("PUT", "/communities/{community_id}/open-data"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/replay"): P.REPLAY,
    ("GET", "/communities/{community_id}/replay/marks"): P.REPLAY,
    ("GET", "/communities/{community_id}/replay/events"): P.REPLAY,
    ("GET", "/public/communities"): P.ANYONE,
    ("GET", "/public/communities/{community_id}"): P.ANYONE,
    ("GET", "/communities/{community_id}/alerts"): P.ALERTS,
    ("GET", "/alerts/{alert_id}"): P.ALERTS,
    ("GET", "/communities/{community_id}/alerts/summary"): P.ALERTS,
    ("GET", "/communities/{community_id}/silences"): P.ALERTS,
    ("POST", "/communities/{community_id}/silences"): P.SILENCES,
    ("POST", "/communities/{community_id}/silences/preview"): P.SILENCES,
    ("POST", "/silences/{silence_id}/end"): P.SILENCES,
    ("GET", "/communities/{community_id}/alert-caps"): P.ALERTS,
    ("PUT", "/communities/{community_id}/alert-caps"): P.SILENCES,
    ("POST", "/alerts/{alert_id}/answer"): P.HOUSEHOLD,
    ("PUT", "/people/{person_id}/away"): P.HOUSEHOLD,
    ("GET", "/communities/{community_id}/orders"): P.ORDERS,
    ("POST", "/communities/{community_id}/orders"): P.ORDER_OPEN,
    ("POST", "/communities/{community_id}/orders/moves"): P.ORDER_MOVES,
    ("GET", "/orders/{order_id}"): P.ORDERS,
    ("POST", "/orders/{order_id}/moves"): P.ORDER_MOVES,
    ("GET", "/communities/{community_id}/notices"): P.NOTICES,
    ("GET", "/orders/{order_id}/notices"): P.NOTICES,
    ("GET", "/me/notices"): P.SELF,
    ("POST", "/me/notices/{notice_id}/ack"): P.SELF,
    ("GET", "/communities/{community_id}/staff/{user_id}/channels"): P.NOTICES,
    ("POST", "/communities/{community_id}/staff/{user_id}/channels"): P.NOTICES,
    ("DELETE", "/communities/{community_id}/staff/{user_id}/channels/{channel_id}"): P.NOTICES,
    ("GET", "/me/channels"): P.SELF,
    ("POST", "/me/channels"): P.SELF,
    ("PUT", "/me/channels/{channel_id}"): P.SELF,
    ("DELETE", "/me/channels/{channel_id}"): P.SELF,
    ("POST", "/me/channels/{channel_id}/code"): P.SELF,
    ("POST", "/me/channels/{channel_id}/verify"): P.SELF,
    ("GET", "/communities/{community_id}/gateways"): P.GATEWAYS,
    ("PUT", "/communities/{community_id}/gateways/{sort}"): P.GATEWAYS,
    ("DELETE", "/communities/{community_id}/gateways/{sort}"): P.GATEWAYS,
    ("GET", "/people/{person_id}/contacts"): P.HOUSEHOLD,
    ("POST", "/people/{person_id}/contacts"): P.HOUSEHOLD,
    ("POST", "/people/{person_id}/contacts/reveal"): P.PEOPLE,
    ("PUT", "/people/{person_id}/contacts/order"): P.HOUSEHOLD,
    ("PUT", "/contacts/{contact_id}"): P.HOUSEHOLD,
    ("DELETE", "/contacts/{contact_id}"): P.HOUSEHOLD,
    ("GET", "/n/{token}"): P.ANYONE,
    ("POST", "/n/{token}"): P.ANYONE,
    ("GET", "/communities/{community_id}/rotas"): P.ROSTERS,
    ("GET", "/communities/{community_id}/rotas/{rota_id}"): P.ROSTERS,
    ("PUT", "/communities/{community_id}/rotas/{rota_id}"): P.ROSTER_EDIT,
    ("DELETE", "/communities/{community_id}/rotas/{rota_id}"): P.ROSTER_EDIT,
    ("POST", "/communities/{community_id}/rotas/{rota_id}/generate"): P.ROSTER_EDIT,
    ("GET", "/communities/{community_id}/on-duty"): P.ROSTERS,
    ("GET", "/communities/{community_id}/roster-gaps"): P.ROSTERS,
    ("GET", "/communities/{community_id}/staff"): P.ROSTERS,
    ("PUT", "/communities/{community_id}/staff/{user_id}"): P.ROSTER_EDIT,
    ("GET", "/communities/{community_id}/shifts"): P.ROSTERS,
    ("POST", "/communities/{community_id}/shifts"): P.ROSTER_EDIT,
    ("POST", "/shifts/{shift_id}/cancel"): P.ROSTER_EDIT,
    ("POST", "/communities/{community_id}/stand-ins"): P.ROSTER_EDIT,
    ("POST", "/shifts/{shift_id}/swap"): P.ROSTERS,
    ("POST", "/swaps/{swap_id}/answer"): P.ROSTERS,
    ("GET", "/communities/{community_id}/swaps"): P.ROSTERS,
    ("POST", "/communities/{community_id}/handovers"): P.ROSTERS,
    ("POST", "/handovers/{handover_id}/confirm"): P.ROSTERS,
    ("GET", "/communities/{community_id}/handovers"): P.ROSTERS,
    ("PUT", "/me/position"): P.ROSTERS,
    ("DELETE", "/me/position"): P.ROSTERS,
    ("GET", "/orders/{order_id}/reports"): P.ORDER_MOVES,
    ("POST", "/orders/{order_id}/urge"): P.ORDER_MOVES,
    ("POST", "/orders/{order_id}/call-back"): P.REPORT_DESK,
    ("GET", "/report-categories"): P.ANYONE,
    ("POST", "/communities/{community_id}/reports"): P.ANYONE,
    ("GET", "/communities/{community_id}/reports"): P.ORDER_MOVES,
    ("GET", "/communities/{community_id}/call-backs"): P.REPORT_DESK,
    ("GET", "/report-communities"): P.ANYONE,
    ("GET", "/communities/{community_id}/report-places"): P.ANYONE,
    ("GET", "/communities/{community_id}/reports/told"): P.ANYONE,
    ("GET", "/reports/mine"): P.REPORT,
    ("GET", "/reports/{report_id}"): P.ANYONE,
    ("GET", "/reports/{report_id}/photos/{photo_id}"): P.ANYONE,
    ("POST", "/reports/{report_id}/rating"): P.ANYONE,
    ("POST", "/reports/{report_id}/information"): P.ANYONE,
    ("POST", "/reports/{report_id}/withdraw"): P.ANYONE,
    ("POST", "/reports/{report_id}/urge"): P.ANYONE,
    ("GET", "/reports/{report_id}/nearby"): P.ORDER_MOVES,
    ("POST", "/reports/{report_id}/file"): P.REPORT_DESK,
    ("POST", "/reports/{report_id}/refuse"): P.REPORT_DESK,
    ("POST", "/reports/{report_id}/join"): P.REPORT_DESK,
    ("GET", "/communities/{community_id}/rules/{rule_id}/statistics"): P.RULES,
    ("POST", "/communities/{community_id}/evidence"): P.EVIDENCE_ADD,
    ("POST", "/orders/{order_id}/evidence"): P.EVIDENCE_ADD,
    ("GET", "/orders/{order_id}/evidence"): P.EVIDENCE,
    ("GET", "/alerts/{alert_id}/evidence"): P.EVIDENCE,
    ("GET", "/evidence/{evidence_id}"): P.EVIDENCE,
    ("GET", "/evidence/{evidence_id}/thumbnail"): P.EVIDENCE,
    ("POST", "/evidence/{evidence_id}/link"): P.EVIDENCE_ADD,
    ("DELETE", "/evidence/{evidence_id}"): P.EVIDENCE_REMOVE,
    ("POST", "/communities/{community_id}/place-codes"): P.PLACE_CODES,
    ("GET", "/communities/{community_id}/place-codes"): P.PLACE_CODES,
    ("GET", "/place-codes/{code_id}/label"): P.PLACE_CODES,
    ("POST", "/place-codes/{code_id}/revoke"): P.PLACE_CODES,
    ("POST", "/place-codes/{code_id}/rotate"): P.PLACE_CODES,
    ("GET", "/communities/{community_id}/kpis"): P.KPIS,
    ("GET", "/communities/{community_id}/kpis/{name}/rows"): P.KPIS,
    ("GET", "/kpis"): P.KPIS,
    ("GET", "/communities/{community_id}/monthly-reports"): P.KPIS,
    ("GET", "/communities/{community_id}/rules"): P.RULES,
    ("GET", "/communities/{community_id}/rules/{rule_id}"): P.RULES,
    ("GET", "/communities/{community_id}/rules/{rule_id}/diff"): P.RULES,
    ("POST", "/communities/{community_id}/rules/validate"): P.RULE_EDIT,
    ("POST", "/communities/{community_id}/rules/backtest"): P.RULE_EDIT,
    ("POST", "/communities/{community_id}/rules/diff"): P.RULE_EDIT,
    ("GET", "/communities/{community_id}/proofs/{proof_id}"): P.RULE_EDIT,
    ("PUT", "/communities/{community_id}/rules/{rule_id}"): P.RULE_EDIT,
    ("DELETE", "/communities/{community_id}/rules/{rule_id}"): P.RULE_EDIT,
    ("GET", "/devices/{device_id}/rules/{rule_id}/override"): P.RULE_EDIT,
    ("PUT", "/devices/{device_id}/rules/{rule_id}/override"): P.RULE_EDIT,
    ("GET", "/people/{person_id}/rules/{rule_id}/override"): P.RULE_EDIT,
    ("PUT", "/people/{person_id}/rules/{rule_id}/override"): P.RULE_EDIT,
    ("GET", "/communities/{community_id}/plans"): P.PLANS,
    ("GET", "/communities/{community_id}/plans/{plan_id}"): P.PLANS,
    ("PUT", "/communities/{community_id}/plans/{plan_id}"): P.PLAN_EDIT,
    ("DELETE", "/communities/{community_id}/plans/{plan_id}"): P.PLAN_EDIT,
    ("POST", "/communities/{community_id}/plans/{plan_id}/approve"): P.PLAN_EDIT,
    ("POST", "/communities/{community_id}/plans/{plan_id}/dry-run"): P.PLAN_EDIT,
    ("GET", "/communities/{community_id}/plan-runs"): P.PLANS,
    ("GET", "/plan-runs/{run_id}"): P.PLANS,
    ("POST", "/plan-runs/{run_id}/cancel"): P.PLAN_EDIT,
    ("GET", "/communities/{community_id}/commands"): P.COMMANDS,
    ("POST", "/communities/{community_id}/commands"): P.COMMAND_ASK,
    ("GET", "/commands/{command_id}"): P.COMMANDS,
    ("POST", "/commands/{command_id}/approve"): P.COMMAND_APPROVE,
    ("POST", "/commands/{command_id}/reject"): P.COMMAND_APPROVE,
    ("POST", "/commands/{command_id}/cancel"): P.COMMAND_ASK,
    ("POST", "/commands/{command_id}/review"): P.COMMAND_APPROVE,
    ("GET", "/communities/{community_id}/lamp-schedules"): P.COMMANDS,
    ("PUT", "/communities/{community_id}/lamp-schedules/{schedule_id}"): P.COMMAND_SCHEDULE,
    ("DELETE", "/communities/{community_id}/lamp-schedules/{schedule_id}"): P.COMMAND_SCHEDULE,
    ("GET", "/communities/{community_id}/command-strays"): P.COMMAND_APPROVE,
    ("GET", "/communities/{community_id}/command-batches"): P.COMMAND_APPROVE,
    ("POST", "/communities/{community_id}/command-batches"): P.COMMAND_SCHEDULE,
    ("GET", "/command-batches/{batch_id}"): P.COMMAND_APPROVE,
    ("POST", "/command-batches/{batch_id}/approve"): P.COMMAND_APPROVE,
    ("POST", "/command-batches/{batch_id}/reject"): P.COMMAND_APPROVE,
    ("POST", "/command-batches/{batch_id}/stop"): P.COMMAND_SCHEDULE,
    ("POST", "/command-batches/{batch_id}/review"): P.COMMAND_APPROVE,
    ("GET", "/communities/{community_id}/order-classes"): P.ORDERS,
    ("GET", "/communities/{community_id}/order-classes/defaults"): P.ORDERS,
    ("GET", "/communities/{community_id}/order-classes/calendars"): P.ORDERS,
    ("PUT", "/communities/{community_id}/order-classes"): P.ORDER_CLASS_EDIT,
    ("DELETE", "/communities/{community_id}/order-classes"): P.ORDER_CLASS_EDIT,
    ("POST", "/communities/{community_id}/order-classes/drill"): P.ORDER_CLASS_EDIT,
    ("DELETE", "/communities/{community_id}/order-classes/drill"): P.ORDER_CLASS_EDIT,
    ("GET", "/communities/{community_id}/quarantine"): P.QUARANTINE,
    ("POST", "/communities"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/registry"): P.REGISTRY,
    ("PATCH", "/communities/{community_id}/registry"): P.REGISTRY_EDIT,
    ("DELETE", "/communities/{community_id}/registry"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/places"): P.REGISTRY,
    ("POST", "/communities/{community_id}/places"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/places/{sort}/{place_id}"): P.REGISTRY,
    ("PATCH", "/communities/{community_id}/places/{sort}/{place_id}"): P.REGISTRY_EDIT,
    ("DELETE", "/communities/{community_id}/places/{sort}/{place_id}"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/registry/devices"): P.REGISTRY,
    ("POST", "/communities/{community_id}/registry/devices"): P.REGISTRY_EDIT,
    ("PATCH", "/communities/{community_id}/registry/devices"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/registry/devices/{device_id}"): P.REGISTRY,
    ("PATCH", "/communities/{community_id}/registry/devices/{device_id}"): P.REGISTRY_EDIT,
    ("POST", "/communities/{community_id}/registry/devices/{device_id}/retire"): P.REGISTRY_EDIT,
    ("POST", "/communities/{community_id}/registry/devices/{device_id}/reinstate"): P.REGISTRY_EDIT,
    ("POST", "/communities/{community_id}/registry/devices/{device_id}/secret"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/registry/export"): P.REGISTRY,
    ("POST", "/communities/{community_id}/registry/imports"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/registry/imports/{import_id}"): P.REGISTRY_EDIT,
    ("POST", "/communities/{community_id}/registry/imports/{import_id}/apply"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/plan"): P.COCKPIT,
    ("GET", "/communities/{community_id}/plan/drawings"): P.REGISTRY,
    ("POST", "/communities/{community_id}/plan/drawings"): P.REGISTRY_EDIT,
    ("GET", "/communities/{community_id}/plan/drawings/{version}"): P.COCKPIT,
    ("POST", "/communities/{community_id}/plan/drawings/{version}/restore"): P.REGISTRY_EDIT,
    ("POST", "/communities/{community_id}/plan/preview"): P.REGISTRY_EDIT,
    ("PATCH", "/communities/{community_id}/plan/places"): P.REGISTRY_EDIT,
    ("GET", "/ingest/ledger"): P.LEDGER,
    ("GET", "/service-accounts"): P.KEYS,
    ("POST", "/service-accounts"): P.KEYS,
    ("POST", "/service-accounts/{account_id}/disable"): P.KEYS,
    ("POST", "/service-accounts/{account_id}/enable"): P.KEYS,
    ("POST", "/service-accounts/{account_id}/keys"): P.KEYS,
    ("GET", "/keys"): P.KEYS,
    ("POST", "/keys/{key_id}/rotate"): P.KEYS,
    ("POST", "/keys/{key_id}/revoke"): P.KEYS,
    ("POST", "/displays/pairings"): P.ANYONE,
    ("POST", "/displays/pairings/{pairing_id}/claim"): P.ANYONE,
    ("POST", "/displays/me/refresh"): P.SELF,
    ("POST", "/displays/me/logout"): P.SELF,
    ("GET", "/communities/{community_id}/displays"): P.DISPLAYS,
    ("POST", "/communities/{community_id}/displays"): P.DISPLAYS,
    ("GET", "/displays/{display_id}"): P.DISPLAYS,
    ("PUT", "/displays/{display_id}"): P.DISPLAYS,
    ("POST", "/displays/{display_id}/revoke"): P.DISPLAYS,
    ("GET", "/audit"): P.AUDIT,
    ("GET", "/city/events"): P.CITY_EVENTS,
    ("GET", "/city/events/stream"): P.CITY_EVENTS,
    ("GET", "/city/schemas"): P.ANYONE,
    ("GET", "/city/schemas/{type_name}"): P.ANYONE,
    ("GET", "/city/asyncapi.json"): P.ANYONE,
    ("GET", "/alerts/{alert_id}/cap"): P.CITY_EVENTS,
    ("GET", "/ngsi-ld/v1/entities"): P.CITY_EVENTS,
    ("GET", "/ngsi-ld/v1/entities/{entity_id}"): P.CITY_EVENTS,
    ("GET", "/ngsi-ld/v1/types"): P.CITY_EVENTS,
    ("GET", "/ngsi-ld/v1/jsonldContexts/linhub"): P.ANYONE,
    ("GET", "/ngsi-ld/v1/subscriptions"): P.CITY_EVENTS,
    ("POST", "/ngsi-ld/v1/subscriptions"): P.CITY_EVENTS,
    ("GET", "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}"): P.CITY_EVENTS,
    ("PATCH", "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}"): P.CITY_EVENTS,
    ("GET", "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}/attempts"): P.CITY_EVENTS,
    ("DELETE", "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}"): P.CITY_EVENTS,
    ("POST", "/city/cases"): P.CITY_CASES,
    ("GET", "/city/cases"): P.CITY_CASES,
    ("GET", "/city/cases/{case_id}"): P.CITY_CASES,
    ("POST", "/city/cases/{case_id}/urge"): P.CITY_CASES,
    ("POST", "/city/cases/{case_id}/notes"): P.CITY_CASES,
    ("POST", "/city/cases/{case_id}/withdraw"): P.CITY_CASES,
    ("POST", "/city/cases/{case_id}/evidence"): P.CITY_CASES,
    ("GET", "/city/cases/{case_id}/photos/{evidence_id}"): P.CITY_CASES,
    ("POST", "/city/cases/{case_id}/photos"): P.CITY_ANSWER,
    ("DELETE", "/city/cases/{case_id}/photos/{evidence_id}"): P.CITY_ANSWER,
    ("GET", "/orders/{order_id}/cases"): P.CITY_ANSWER,
    ("GET", "/communities/{community_id}/cases"): P.CITY_ANSWER,
    ("GET", "/city/subscriptions"): P.CITY_EVENTS,
    ("POST", "/city/subscriptions"): P.CITY_EDIT,
    ("GET", "/city/subscriptions/{subscription_id}"): P.CITY_EVENTS,
    ("PUT", "/city/subscriptions/{subscription_id}"): P.CITY_EDIT,
    ("DELETE", "/city/subscriptions/{subscription_id}"): P.CITY_EDIT,
    ("GET", "/city/subscriptions/{subscription_id}/keys"): P.CITY_EVENTS,
    ("POST", "/city/subscriptions/{subscription_id}/keys"): P.CITY_EDIT,
    ("POST", "/city/subscriptions/{subscription_id}/keys/{signing_key_id}/end"): P.CITY_EDIT,
    ("GET", "/city/subscriptions/{subscription_id}/logins"): P.CITY_EVENTS,
    ("POST", "/city/subscriptions/{subscription_id}/logins"): P.CITY_EDIT,
    ("POST", "/city/subscriptions/{subscription_id}/logins/{login_name}/end"): P.CITY_EDIT,
    ("POST", "/city/subscriptions/{subscription_id}/test"): P.CITY_EVENTS,
    ("POST", "/city/subscriptions/{subscription_id}/replay"): P.CITY_EVENTS,
    ("GET", "/city/subscriptions/{subscription_id}/attempts"): P.CITY_EVENTS,
    ("GET", "/city/subscriptions/{subscription_id}/dead-letters"): P.CITY_EVENTS,
    ("POST", "/audit/search"): P.AUDIT,
    ("GET", "/audit/chain"): P.AUDIT,
}
"""Written by hand, so that a new route fails here until somebody has decided who may use it."""

NOT_DONE = {
    ("POST", "/communities/{community_id}/commands"): 201,
    ("POST", "/commands/{command_id}/approve"): 409,
    ("POST", "/commands/{command_id}/reject"): 409,
    ("POST", "/commands/{command_id}/cancel"): 409,
    ("POST", "/commands/{command_id}/review"): 409,
    ("POST", "/communities/{community_id}/command-batches"): 201,
    ("PUT", "/communities/{community_id}/lamp-schedules/{schedule_id}"): 412,
    ("DELETE", "/communities/{community_id}/lamp-schedules/{schedule_id}"): 412,
    ("POST", "/command-batches/{batch_id}/approve"): 409,
    ("POST", "/command-batches/{batch_id}/reject"): 409,
    ("POST", "/command-batches/{batch_id}/review"): 409,
    ("POST", "/users"): 422,
    ("PUT", "/users/{user_id}"): 412,
    ("POST", "/users/{user_id}/disable"): 412,
    ("POST", "/users/{user_id}/enable"): 412,
    ("POST", "/users/{user_id}/password"): 400,
    ("POST", "/users/{user_id}/free"): 204,
    ("POST", "/users/{user_id}/external-identity"): 422,
    ("DELETE", "/users/{user_id}/external-identity"): 204,
    ("DELETE", "/users/{user_id}/sessions/{session_id}"): 404,
    ("POST", "/communities"): 422,
    ("POST", "/communities/{community_id}/places"): 422,
    ("PATCH", "/communities/{community_id}/registry"): 412,
    ("DELETE", "/communities/{community_id}/registry"): 412,
    ("PATCH", "/communities/{community_id}/places/{sort}/{place_id}"): 412,
    ("DELETE", "/communities/{community_id}/places/{sort}/{place_id}"): 412,
    ("POST", "/communities/{community_id}/registry/devices"): 422,
    ("PATCH", "/communities/{community_id}/registry/devices"): 422,
    ("PATCH", "/communities/{community_id}/registry/devices/{device_id}"): 412,
    ("POST", "/communities/{community_id}/registry/devices/{device_id}/retire"): 412,
    ("POST", "/communities/{community_id}/registry/devices/{device_id}/reinstate"): 412,
    ("POST", "/communities/{community_id}/registry/devices/{device_id}/secret"): 412,
    ("POST", "/communities/{community_id}/registry/imports"): 415,
    ("GET", "/communities/{community_id}/registry/imports/{import_id}"): 404,
    ("POST", "/communities/{community_id}/registry/imports/{import_id}/apply"): 404,
    ("POST", "/communities/{community_id}/plan/drawings"): 412,
    ("POST", "/communities/{community_id}/plan/drawings/{version}/restore"): 412,
    ("POST", "/communities/{community_id}/plan/preview"): 415,
    ("PUT", "/communities/{community_id}/rotas/{rota_id}"): 412,
    ("DELETE", "/communities/{community_id}/rotas/{rota_id}"): 412,
    ("POST", "/communities/{community_id}/shifts"): 422,
    ("POST", "/shifts/{shift_id}/cancel"): 422,
    ("POST", "/shifts/{shift_id}/swap"): 422,
    ("POST", "/swaps/{swap_id}/answer"): 422,
    ("POST", "/communities/{community_id}/handovers"): 422,
    ("POST", "/handovers/{handover_id}/confirm"): 422,
    ("PUT", "/me/position"): 422,
    ("PUT", "/communities/{community_id}/order-classes"): 422,
    ("DELETE", "/communities/{community_id}/order-classes"): 412,
    ("POST", "/communities/{community_id}/order-classes/drill"): 422,
    ("DELETE", "/communities/{community_id}/order-classes/drill"): 412,
    ("PUT", "/communities/{community_id}/plans/{plan_id}"): 422,
    ("DELETE", "/communities/{community_id}/plans/{plan_id}"): 412,
    ("POST", "/communities/{community_id}/plans/{plan_id}/approve"): 409,
    ("POST", "/plan-runs/{run_id}/cancel"): 409,
    ("DELETE", "/communities/{community_id}/gateways/{sort}"): 204,
    ("POST", "/communities/{community_id}/staff/{user_id}/channels"): 400,
    ("DELETE", "/communities/{community_id}/staff/{user_id}/channels/{channel_id}"): 404,
    ("PUT", "/people/{person_id}/contacts/order"): 412,
    ("PUT", "/contacts/{contact_id}"): 404,
    ("DELETE", "/contacts/{contact_id}"): 404,
    ("POST", "/communities/{community_id}/evidence"): 422,
    ("POST", "/orders/{order_id}/evidence"): 422,
    ("GET", "/evidence/{evidence_id}"): 410,
    ("GET", "/evidence/{evidence_id}/thumbnail"): 410,
    ("POST", "/evidence/{evidence_id}/link"): 409,
    ("DELETE", "/evidence/{evidence_id}"): 409,
    ("POST", "/communities/{community_id}/place-codes"): 422,
    ("GET", "/place-codes/{code_id}/label"): 409,
    ("POST", "/place-codes/{code_id}/revoke"): 409,
    ("POST", "/place-codes/{code_id}/rotate"): 409,
    ("POST", "/service-accounts"): 201,
    ("GET", "/city/events"): 409,
    ("GET", "/city/events/stream"): 409,
    ("POST", "/ngsi-ld/v1/subscriptions"): 201,
    ("PATCH", "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}"): 404,
    ("DELETE", "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}"): 204,
    ("POST", "/city/cases"): 404,
    ("POST", "/city/cases/{case_id}/urge"): 409,
    ("POST", "/city/cases/{case_id}/notes"): 409,
    ("POST", "/city/cases/{case_id}/evidence"): 409,
    ("GET", "/city/cases/{case_id}/photos/{evidence_id}"): 404,
    ("POST", "/city/cases/{case_id}/photos"): 404,
    ("DELETE", "/city/cases/{case_id}/photos/{evidence_id}"): 204,
    ("POST", "/city/subscriptions"): 404,
    ("PUT", "/city/subscriptions/{subscription_id}"): 412,
    ("DELETE", "/city/subscriptions/{subscription_id}"): 412,
    ("POST", "/city/subscriptions/{subscription_id}/keys"): 201,
    ("POST", "/city/subscriptions/{subscription_id}/logins"): 409,
    ("POST", "/city/subscriptions/{subscription_id}/test"): 202,
    ("POST", "/city/subscriptions/{subscription_id}/replay"): 409,
    ("POST", "/service-accounts/{account_id}/keys"): 422,
    ("POST", "/keys/{key_id}/rotate"): 409,
    ("POST", "/communities/{community_id}/displays"): 422,
    ("PUT", "/displays/{display_id}"): 409,
    ("POST", "/communities/{community_id}/people"): 201,
    ("PUT", "/people/{person_id}"): 412,
    ("DELETE", "/people/{person_id}"): 412,
    ("POST", "/people/{person_id}/move-out"): 412,
    ("POST", "/people/{person_id}/consents"): 201,
    ("POST", "/people/{person_id}/emergency-access"): 201,
    ("DELETE", "/erasures/{erasure_id}"): 409,
}
"""Refused for what they ask, but heard: an empty text, a version nobody has seen, approved, ended, removed or void; or
done without an answer."""

SENT = (P.EVIDENCE, P.EVIDENCE_ADD)
"""Given to outsiders for what they sent themselves."""
OUTSIDERS = (Role.RESIDENT, Role.MERCHANT, Role.VISITOR)

ACCOUNTS = {
    Role.ADMIN: "admin",
    Role.DESK: "desk",
    Role.GRID: "grid1",
    Role.STAFF: "patrol1",
    Role.STREET: "street",
    Role.RESIDENT: "resident1",
    Role.PLATFORM: "platform",
    Role.MERCHANT: "merchant",
    Role.VISITOR: "visitor",
    Role.DISPLAY: "display",
}
HEARD = {
    ("POST", "/communities/{community_id}/orders"): 201,
    ("POST", "/communities/{community_id}/orders/moves"): 200,
    ("POST", "/communities/{community_id}/silences"): 422,
    ("POST", "/silences/{silence_id}/end"): 409,
    ("POST", "/alerts/{alert_id}/answer"): 409,
    ("POST", "/reports/{report_id}/file"): 409,
    ("POST", "/reports/{report_id}/refuse"): 409,
    ("POST", "/reports/{report_id}/join"): 409,
    ("POST", "/orders/{order_id}/urge"): 409,
    ("POST", "/orders/{order_id}/call-back"): 409,
}
"""Made, or refused, but heard: it would be over already, it is, nobody is being asked."""
OWN = {
    ("POST", "/auth/refresh"): 403,
    ("POST", "/auth/token"): 400,
    ("GET", "/auth/oidc/start"): 404,
    ("GET", "/auth/oidc/callback"): 404,
    ("DELETE", "/auth/sessions/{session_id}"): 404,
    ("POST", "/auth/password"): 422,
    ("POST", "/me/notices/{notice_id}/ack"): 404,
    ("POST", "/me/channels"): 400,
    ("PUT", "/me/channels/{channel_id}"): 404,
    ("DELETE", "/me/channels/{channel_id}"): 404,
    ("POST", "/me/channels/{channel_id}/code"): 404,
    ("POST", "/me/channels/{channel_id}/verify"): 404,
    ("GET", "/public/communities/{community_id}"): 404,
    ("GET", "/n/{token}"): 200,
    ("POST", "/n/{token}"): 200,
    ("POST", "/displays/pairings"): 201,
    ("POST", "/displays/pairings/{pairing_id}/claim"): 404,
    ("POST", "/displays/me/refresh"): 403,
    ("POST", "/displays/me/logout"): 403,
}
"""The same for everybody, wherever they are: somebody else's things, a missing key, a link that says itself what it is
about."""
FOLLOWED = {key for key, permission in ROUTES.items() if permission is P.ANYONE and "{report_id}" in key[1]}
"""Heard with a login or without, but there for nobody save whoever sent it."""
SCOPED = [key for key in ROUTES if "{" in key[1] and key not in OWN and "{type_name}" not in key[1]]


def _routes() -> Iterator[APIRoute]:
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield route


def _declared(dependant: Dependant) -> list[Permission]:
    found = [one.call.permission for one in dependant.dependencies if isinstance(one.call, Requires | Open)]
    return found + [permission for one in dependant.dependencies for permission in _declared(one)]


def test_access_every_route_declares_exactly_the_permission_of_the_table() -> None:
    declared = {
        (method, route.path.removeprefix("/api/v1")): _declared(route.dependant)
        for route in _routes()
        for method in route.methods or ()
    }
    assert declared == {key: [permission] for key, permission in ROUTES.items()}


def test_access_table_holds_every_operation_of_the_published_schema() -> None:
    settings = ApiSettings(database_url="postgresql://nowhere", secret_key=KEY)
    paths = create_app(compose(settings), lambda: None).openapi()["paths"]
    published = {(method.upper(), path.removeprefix("/api/v1")) for path, item in paths.items() for method in item}
    assert published == set(ROUTES)


def test_access_a_route_without_a_permission_is_noticed() -> None:
    from fastapi import APIRouter

    router = APIRouter()
    router.add_api_route("/forgotten", lambda: None)
    route = router.routes[0]
    assert isinstance(route, APIRoute)
    assert _declared(route.dependant) == []


async def populate(database_url: str) -> dict[str, dict[str, str]]:
    """Two communities of different streets, each with something of everything; what to put into the paths of each."""
    import dataclasses

    places: dict[str, dict[str, str]] = {}
    for id, prefix in (("test", ""), ("other", "o-")):
        community = small_community(id, prefix)
        community = dataclasses.replace(community, street=f"{id}街道")
        await put_community(database_url, community)
        connection = await connect(database_url)
        await set_state(connection, f"{id}-wristband-1", heart_rate=77, spo2=96)
        alert, order = await raise_alert(connection, f"{id}-gas_alarm-1")
        for role in (Role.MERCHANT, Role.VISITOR, Role.DISPLAY):
            await connection.execute(
                "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id) "
                "SELECT $1, $1, password_hash, $1, $2, $3 FROM app_user WHERE username = 'desk'",
                f"{prefix}{role}",
                role.value,
                id,
            )
        proof = await connection.fetchval(
            "INSERT INTO rule_proof (id, community_id, what, asked_by, from_at, to_at, documents, state, ended_at) "
            "VALUES (gen_random_uuid(), $1, 'backtest', 'desk', now() - interval '1 day', now(), '{}', 'done', now()) "
            "RETURNING id",
            id,
        )
        await connection.close()
        places[id] = {
            "proof_id": str(proof),
            "community_id": id,
            "device_id": f"{id}-wristband-1",
            "alert_id": str(alert),
            "order_id": str(order),
            "name": "power",
            "rule_id": "wristband.heart_rate_high",
            "person_id": await _someone(database_url, id),
            "silence_id": await _silence(database_url, id),
            "plan_id": "gas_leak",
            "run_id": await _run_of(database_url, id, alert),
            **await _notice(database_url, id),
            "user_id": f"user-{prefix}patrol1",
            "session_id": "nobodys",
            **await _roster(database_url, id, prefix),
            "report_id": await _report_of(database_url, id, order),
            "photo_id": str(uuid4()),
            "place_id": f"{id}-b1",
            "import_id": str(uuid4()),
            "version": "1",
            **await _shown(database_url, id),
            **await _let_in(database_url, id),
            "case_id": await _case_of(database_url, id, f"user-{prefix}platform"),
            **await _private(database_url, id),
            **await _commands(database_url, id),
        }
    return places


async def _commands(database_url: str, community_id: str) -> dict[str, str]:
    """Called back before they left, by itself and as a batch: there, and refused what is asked of them."""
    connection = await connect(database_url)
    batch, command = str(uuid4()), str(uuid4())
    await connection.execute(
        "INSERT INTO command_batch (id, community_id, name, dangerous, why, total, per_second, requested_by,"
        " requested_at, digest, stopped_by, stopped_at)"
        " VALUES ($1, $2, 'mute', false, 'x', 1, 1, 'somebody', now(), sha256('x'), 'x', now())",
        batch,
        community_id,
    )
    for number, of in ((command, None), (str(uuid4()), batch)):
        await connection.execute(
            "INSERT INTO command (id, community_id, partition, device_no, name, source, requested_by, dangerous,"
            " requested_at, expires_at, lives_s, batch_id) SELECT $1, $2, 0, device_no, 'mute', 'user:somebody',"
            " 'somebody', false, now(), now() + interval '1 hour', 60, $4 FROM device WHERE id = $3",
            number,
            community_id,
            f"{community_id}-gas_alarm-1",
            of,
        )
        await connection.execute("UPDATE command SET state = 'cancelled', ended_at = now() WHERE id = $1", number)
    await connection.close()
    return {"command_id": command, "batch_id": batch, "schedule_id": "streets"}


async def _let_in(database_url: str, community_id: str) -> dict[str, str]:
    """A program with a key that is revoked, and a screen that is cut off: there, and refused what is asked of them."""
    connection = await connect(database_url)
    account, key, screen = f"service-{community_id}", f"{community_id:0<12}", str(uuid4())
    await connection.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id, service) "
        "VALUES ($1, $1, '!', $1, 'platform', $2, true)",
        account,
        community_id,
    )
    await connection.execute(
        "INSERT INTO api_key (id, user_id, community_id, sort, name, secret_hash, scopes, per_minute, created_by,"
        " expires_at, revoked_at) VALUES ($1, $2, $3, 'key', 'x', sha256(convert_to($1, 'UTF8')), '{alerts}', 60, 'x',"
        " now() + interval '1 day', now())",
        key,
        account,
        community_id,
    )
    await connection.execute(
        "INSERT INTO display (id, community_id, user_id, name, paired_by, expires_at, revoked_at) "
        "VALUES ($1, $2, $3, 'x', 'x', now() + interval '1 day', now())",
        screen,
        community_id,
        account,
    )
    subscription = await connection.fetchval(
        "INSERT INTO city_subscription (id, account_id, community_id, name, way, url, types, state, created_by,"
        " idempotency_key) VALUES (gen_random_uuid(), $1, $2, 'x', 'webhook', 'https://events.example.cn/', '{*}',"
        " 'paused', 'x', $1) RETURNING id",
        account,
        community_id,
    )
    await connection.execute("INSERT INTO city_delivery (subscription_id, seq) VALUES ($1, 0)", subscription)
    signing = await connection.fetchval(
        "INSERT INTO city_signing_key (id, subscription_id, sort, secret, created_by)"
        " VALUES (gen_random_uuid(), $1, 'hmac', 'whsec_', 'x') RETURNING id",
        subscription,
    )
    login = await connection.fetchval(
        "INSERT INTO city_broker_login (name, subscription_id, secret_hash, created_by)"
        " VALUES ('city.' || translate(left(md5($2), 16), '0189', '2345'), $1, '$7$', 'x') RETURNING name",
        subscription,
        community_id,
    )
    notified = await connection.fetchval(
        "INSERT INTO ngsi_subscription (id, account_id, community_id, name, kinds, document, active, created_at,"
        " modified_at) VALUES (gen_random_uuid(), $1, $2, 'urn:x:' || $2, '{bin}', $3::jsonb, false, now(), now())"
        " RETURNING id",
        account,
        community_id,
        {"type": "Subscription", "notification": {"endpoint": {"uri": "https://events.example.cn/"}}},
    )
    await connection.execute("INSERT INTO ngsi_progress (subscription_id, next_at) VALUES ($1, now())", notified)
    await connection.close()
    return {
        "login_name": login,
        "entity_id": f"urn:ngsi-ld:WasteContainer:{community_id}-bin-1",
        "ngsi_subscription_id": f"urn:x:{community_id}",
        "account_id": account,
        "key_id": key,
        "display_id": screen,
        "pairing_id": str(uuid4()),
        "subscription_id": str(subscription),
        "signing_key_id": str(signing),
        "type_name": "cn.linhub.alert.raised.v1",
    }


async def _case_of(database_url: str, community_id: str, account: str) -> str:
    """A platform's case, withdrawn: what is asked of it is refused, but heard."""
    connection = await connect(database_url)
    now, id = datetime.now(UTC), uuid4()
    draft = Draft(
        id=OrderId(id), community_id=CommunityId(community_id), source=Source.PLATFORM, kind="other",
        severity=Severity.MINOR, title=Label("x", "x"), team=Team.DESK, correlation="x",
    )  # fmt: skip
    async with connection.transaction():
        await open_order(connection, draft, now, dispatch=False)
    await connection.execute(
        "INSERT INTO city_case (order_id, community_id, account_id, external_id, system, digest, opened_at,"
        " withdrawn_at) SELECT $1, $2, id, 'x', 'hotline', 'x', now(), now() FROM app_user WHERE id = $3",
        id,
        community_id,
        account,
    )
    await connection.close()
    return str(id)


async def _report_of(database_url: str, community_id: str, order: Any) -> str:
    """One that somebody without a login has sent: nobody's own, and filed already."""
    connection = await connect(database_url)
    made: Any = await connection.fetchval(
        "INSERT INTO resident_report (id, community_id, order_id, category, token_hash, created_at, idempotency_key,"
        " digest) VALUES (gen_random_uuid(), $1, $2, 'noise', sha256(convert_to($1, 'UTF8')), now(), 'k',"
        " sha256('x')) RETURNING id",
        community_id,
        order,
    )
    await connection.close()
    return str(made)


async def _silence(database_url: str, community_id: str) -> str:
    """One that is over, so that ending it is refused, but heard."""
    connection = await connect(database_url)
    made: Any = await connection.fetchval(
        "INSERT INTO silence (community_id, sort, matcher, starts_at, ends_at, why, created_by) "
        "VALUES ($1, 'silence', '{}', now() - interval '2 h', now() - interval '1 h', 'test', 'desk') RETURNING id",
        community_id,
    )
    await connection.close()
    return str(made)


async def _notice(database_url: str, community_id: str) -> dict[str, str]:
    """To somebody without an account, with a link; and ids of things that are not there."""
    connection = await connect(database_url)
    token = f"{community_id:_<22}"
    notice: Any = await connection.fetchval(
        "INSERT INTO notice (id, seq, community_id, recipient, template, severity, created_at, not_before, expires_at,"
        " state) VALUES (gen_random_uuid(), 0, $1, 'person:nobody', 'over', 'minor', now(), now(), now(), 'sent')"
        " RETURNING id",
        community_id,
    )
    await connection.execute(
        "INSERT INTO notice_link (token_hash, notice_id, expires_at) VALUES (sha256($1), $2, now() + interval '1 h')",
        token.encode(),
        notice,
    )
    await connection.close()
    nobodys = str(uuid4())
    return {"notice_id": str(notice), "token": token, "channel_id": nobodys, "contact_id": nobodys, "sort": "sms"}


async def _roster(database_url: str, community_id: str, prefix: str) -> dict[str, str]:
    """A rota, shifts that are over, a swap and a hand-over of somebody whom no role of the table is."""
    connection = await connect(database_url)
    person = f"user-{prefix}general1"
    shifts = [
        await connection.fetchval(
            "INSERT INTO duty_shift (id, community_id, team, user_id, starts_at, ends_at, made_by, made_at)"
            " VALUES (gen_random_uuid(), $1, 'general', $2, now() - $3 * interval '1 h',"
            " now() - $3 * interval '1 h' + interval '30 min', 'test', now()) RETURNING id",
            community_id,
            person,
            hours,
        )
        for hours in (30, 40)
    ]
    document = {"team": "general", "shifts": [{"name": "x", "from": "00:00", "to": "00:00"}], "people": [[person]]}
    await connection.execute(
        "INSERT INTO duty_pattern VALUES ($1, 'general', 1, 'general', $2, 'test', now())",
        community_id,
        document | {"from": "2026-01-01"},
    )
    swap = await connection.fetchval(
        "INSERT INTO duty_swap (id, community_id, shift_id, for_shift_id, asked_by, asked_at)"
        " VALUES (gen_random_uuid(), $1, $2, $3, 'x', now()) RETURNING id",
        community_id,
        *shifts,
    )
    handover = await connection.fetchval(
        "INSERT INTO duty_handover (id, community_id, team, note, open_orders, at, by)"
        " VALUES (gen_random_uuid(), $1, 'general', 'x', '[]', now(), $2) RETURNING id",
        community_id,
        person,
    )
    await connection.close()
    return {
        "rota_id": "general",
        "shift_id": str(shifts[0]),
        "swap_id": str(swap),
        "handover_id": str(handover),
    }


async def _shown(database_url: str, community_id: str) -> dict[str, str]:
    """A piece of evidence that was taken away, and a code that is void."""
    connection = await connect(database_url)
    evidence: Any = await connection.fetchval(
        "INSERT INTO evidence (id, community_id, sort, sha256, original_sha256, media_type, bytes, uploaded_at,"
        " uploaded_by, uploader_role, removed_at, removed_by, removed_why) VALUES (gen_random_uuid(), $1, 'photo',"
        " sha256('x'), sha256('y'), 'image/jpeg', 1, now(), 'desk', 'desk', now(), 'desk', 'test') RETURNING id",
        community_id,
    )
    code: Any = await connection.fetchval(
        "INSERT INTO place_code (id, community_id, place, x, y, created_at, created_by, revoked_at, revoked_by)"
        " VALUES (gen_random_uuid(), $1, 'test', 1, 1, now(), 'desk', now(), 'desk') RETURNING id",
        community_id,
    )
    await connection.close()
    return {"evidence_id": str(evidence), "code_id": str(code)}


async def _private(database_url: str, community_id: str) -> dict[str, str]:
    """A consent, and the erasure of somebody who is gone."""
    connection = await connect(database_url)
    person = f"{community_id}-p1"
    consent: Any = await connection.fetchval("SELECT id FROM consent WHERE person_id = $1 LIMIT 1", person)
    erasure: Any = await connection.fetchval(
        "INSERT INTO erasure (id, community_id, person_id, reason, requested_by, requested_at, approved_by,"
        " approved_at, done_at) VALUES (gen_random_uuid(), $1, 'gone', 'request', 'x', now(), 'y', now(), now())"
        " RETURNING id",
        community_id,
    )
    await connection.close()
    return {"consent_id": str(consent), "erasure_id": str(erasure)}


async def _someone(database_url: str, community_id: str) -> str:
    connection = await connect(database_url)
    person: str = await connection.fetchval(
        "SELECT id FROM person WHERE community_id = $1 ORDER BY id LIMIT 1", community_id
    )
    await connection.close()
    return person


async def _run_of(database_url: str, community_id: str, alert: Any) -> str:
    """A plan taken over and approved, and a run of it."""
    connection = await connect(database_url)
    documents = {"gas_leak": load_defaults()["gas_leak"].document}
    async with connection.transaction():
        await take_over_defaults(connection, community_id, "author", "approver", documents)
    run: Any = await connection.fetchval(
        "INSERT INTO plan_run (id, community_id, partition, plan_id, version, alert_id, state, approved_by, facts,"
        " started_at, ended_at, correlation) VALUES (gen_random_uuid(), $1, 0, 'gas_leak', 1, $2, 'done', 'approver',"
        """ '{"place": "", "title_zh": "", "title_en": "", "rule_id": "gas_alarm.alarm"}', now(), now(), '')"""
        " RETURNING id",
        community_id,
        alert,
    )
    await connection.close()
    return str(run)


async def _status(http: httpx.AsyncClient, method: str, path: str, order: str = "") -> int:
    return (await ask(http, method, path, order))[0]


async def ask(http: httpx.AsyncClient, method: str, path: str, order: str = "", **more: Any) -> tuple[int, str]:
    """What is answered, with whatever the route needs to listen at all. Of a stream, its first bytes."""
    path = path.replace("/retention/power", "/retention/vitals")
    if path.endswith("/stream"):
        async with http.stream(method, path, params={"cursor": 0}) as response:
            return response.status_code, (await anext(response.aiter_text(), ""))
    path = path.replace("/places/sms/", "/places/building/")
    if ("/registry" in path or "/places/" in path or "/plan/" in path) and method != "GET":
        # Nobody has seen such a version: refused, but heard.
        more = {"headers": {"If-Match": '"999"'}, "json": {}}
        if path.endswith("/imports"):
            more = {"params": {"what": "places"}}
        if path.endswith("/plan/drawings"):
            more["json"] = {"width": 9, "height": 9, "shapes": []}
        if path.endswith("/plan/preview"):
            more = {}
        if path.endswith("/plan/places"):
            more["json"] = {"devices": []}
    if path.endswith("/registry/export"):
        more["params"] = {"what": "places"}
    if path.endswith("/rows"):
        path = path.replace("/power/", "/closing/")
    if path.endswith("/monthly-reports"):
        more["params"] = {"month": "2026-10", "format": "xlsx"}
    if path.endswith("/readings"):
        more["params"] = {"metric": "battery"}
    if path.endswith(("/replay/marks", "/replay/events", "/facilities")) or (
        "communities" in path and path.endswith("/readings")
    ):
        more["params"] = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "kind": "wristband"}
        more["params"] |= {"devices": f"{path.split('/')[2]}-wristband-1", "metrics": "battery"}
    if path.endswith("/replay"):
        more["params"] = {"at": "2026-11-01T00:00:00Z"}
    if path.endswith("/open-data"):
        more["json"] = {"open_data": False}
    if path.endswith("/rollups"):
        span = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
        more["params"] = {"kind": "environment" if "communities" in path else "", "metric": "battery", **span}
        if "communities" in path:
            more["params"]["metric"] = "temperature"
    if path.endswith(("/rules/backtest", "/rules/diff")):
        more["json"] = {"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z", "b": "default"}
        more["json"] |= {} if path.endswith("diff") else {"rules": more["json"].pop("b")}
    elif path.endswith("/diff"):
        more["params"] = {"from": 1, "to": 1}
    if path.endswith("/rules/validate"):
        more |= {"content": "kind: gate", "headers": {"Content-Type": "text/yaml"}}
    if "/rules/" in path and method in ("PUT", "DELETE"):
        # Nobody has seen such a version: refused, but heard.
        more["headers"] = {"If-Match": '"999"'}
        if method == "PUT":
            more["json"] = {"parameters": None} if path.endswith("/override") else {}
    if "/lamp-schedules/" in path:
        # Nobody has seen such a version: refused, but heard.
        more = {"headers": {"If-Match": '"999"'}}
        if method == "PUT":
            more["json"] = {"title": {"zh": "x", "en": "x"}}
    if "/command" in path and method == "POST":
        more["json"] = {"why": "test", "note": "test", "verdict": "justified"}
        if path.endswith("/commands"):
            more["json"] = {"device_id": f"{path.split('/')[2]}-gas_alarm-1", "name": "mute", "why": "test"}
        elif path.endswith("/command-batches"):
            more["json"] = {"kind": "lamp_post", "name": "on", "why": "test", "everywhere": True}
        else:
            fields = {"approve": ("note",), "review": ("note", "verdict")}.get(path.rpartition("/")[2], ("why",))
            more["json"] = {name: more["json"][name] for name in fields}
        more["headers"] = {"Idempotency-Key": str(uuid4())}
    if path.endswith(("/silences", "/silences/preview")) and method == "POST":
        span = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-02T00:00:00Z"}
        more["json"] = {"matcher": {"kinds": ["bin"]}, "why": "test", **span}
    if path.startswith("/users/"):
        more["headers"] = {"If-Match": '"999"'} if not path.endswith("/password") else {}
        if method == "PUT":
            more["json"] = {"display_name": "x", "role": "staff"}
        if path.endswith("/disable"):
            more["json"] = {"why": "test"}
    if path == "/auth/password":
        more["json"] = {"current": "x", "new": "short"}
    if path.endswith("/alert-caps") and method == "PUT":
        more["json"] = {}
    if path.endswith("/reports/told"):
        more["params"] = {"category": "noise"}
    if path.endswith("/answer"):
        more["json"] = {"ok": True}
    if ("/reports" in path and method == "POST") or path.endswith(("/call-back", "/urge")):
        more["json"] = {"category": "noise", "place": "x"} if path.endswith("/reports") else {"version": 99}
        for ending, body in (
            ("/rating", {"rating": 5}),
            ("/information", {"text": "x"}),
            ("/refuse", {"version": 99, "reason": "x"}),
            ("/join", {"order_id": str(uuid4())}),
            ("/call-back", {"version": 99, "outcome": "unreached"}),
            ("/urge", {"version": 99, "reason": "x"}),
        ):
            if path.endswith(ending):
                more["json"] = body
        more["headers"] = {"Idempotency-Key": str(uuid4())}
    if path.endswith("/away"):
        more["json"] = {"until": None}
    if "/order-classes" in path and method != "GET":
        more["headers"] = {"If-Match": '"999"', "Content-Type": "text/yaml"}
        if method == "POST":
            # A drill that would be over already.
            more = {"headers": {"If-Match": '"999"'}, "json": {"scale": 0.5, "until": "2026-01-01T00:00:00Z"}}
    if "/plans/" in path and method in ("PUT", "DELETE"):
        more["headers"] = {"If-Match": '"999"', "Content-Type": "text/yaml"}
    if path.endswith("/approve") and "/command" not in path:
        more["json"] = {"version": 1}
    if path.endswith("/dry-run"):
        more["json"] = {"made_up": {"rule_id": "gas_alarm.alarm", "device_id": f"{path.split('/')[2]}-gas_alarm-1"}}
    if path.endswith("/cancel"):
        more["json"] = {"why": "演习"}
    if "/rotas/" in path:
        shift = {"name": "x", "from": "08:00", "to": "16:00"}
        rota = {"team": "general", "shifts": [shift], "people": [["x"]], "from": "2026-11-01"}
        more["headers"] = {"If-Match": '"999"'}
        more["json"] = {"days": 1} if path.endswith("/generate") else rota if method == "PUT" else None
    if "/staff/" in path or path.endswith("/me/position"):
        more["json"] = {}
    if path.endswith("/shifts"):
        span = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
        more["params"] = span if method == "GET" else {}
        stretch = {"starts_at": span["from"], "ends_at": span["to"]}
        more["json"] = {"team": "general", "user_id": "nobody", **stretch} if method == "POST" else None
    if path.endswith("/stand-ins"):
        stretch = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-02T00:00:00Z"}
        more["json"] = {"absent": "nobody", "user_id": "x", **stretch}
    if path.endswith("/cancel") and "/shifts/" in path:
        more["json"] = {"why": "演习"}
    if path.endswith("/swap"):
        more["json"] = {"for_shift_id": path.split("/")[-2]}
    if "/swaps/" in path:
        more["json"] = {"agree": True}
    if path.endswith("/handovers") and method == "POST":
        more["json"] = {"team": "general", "note": "x"}
    if path.endswith(("/shifts", "/stand-ins", "/swap", "/handovers")) and method == "POST":
        more["headers"] = {"Idempotency-Key": str(uuid4())}
    if path.endswith("/orders") and method == "POST":
        more["json"] = {"source": "staff", "title": "test", "severity": "minor", "team": "patrol"}
        more["headers"] = {"Idempotency-Key": str(uuid4())}
    if path.endswith("/evidence") and method == "POST":
        more |= {"params": {"sort": "photo"}, "headers": {"Idempotency-Key": str(uuid4())}, "json": {}}
    if path.endswith("/link"):
        more["json"] = {"order_id": order}
    if path.startswith("/service-accounts") and method == "POST":
        more["json"] = {"name": "x", "scopes": ["health"]} if path.endswith("/keys") else {"name": "x"}
    if "/displays" in path and method in ("POST", "PUT"):
        more["json"] = {"name": "x"} | ({} if method == "PUT" else {"code": "ACDE-FGHJ"})
        more["json"] = {"secret": "x" * 43} if path.endswith("/claim") else more["json"]
        more["json"] = {} if path.endswith("/refresh") else more["json"]
        more["headers"] = {"If-Match": '"1"'}
    if path.startswith("/keys/"):
        more["json"] = {}
    if path.startswith("/city/cases") and method == "POST":
        bodies: dict[str, dict[str, Any]] = {
            "cases": {"community_id": "nowhere", "external_id": "x", "system": "city", "title": "x", "place": "x"},
            "urge": {"reason": "x"},
            "notes": {"text": "x"},
            "withdraw": {"reason": "x"},
            "evidence": {},
            "photos": {"evidence_id": str(uuid4())},
        }
        more = {"headers": {"Idempotency-Key": str(uuid4())}, "json": bodies[path.rpartition("/")[2]]}
    if path.startswith("/city/subscriptions") and method != "GET":
        more["headers"] = {"If-Match": '"999"', "Idempotency-Key": str(uuid4())}
        more["json"] = {"name": "x", "url": "https://events.example.cn/"} if method == "PUT" else None
        for ending, body in (
            ("/subscriptions", {"account_id": "nobody", "name": "x", "way": "pull"}),
            ("/keys", {}),
            ("/logins", {}),
            ("/replay", {"first": 2**40, "last": 2**40}),
        ):
            if path.endswith(ending):
                more["json"] = body
    if path.startswith("/evidence/") and method == "DELETE":
        more["json"] = {"why": "test"}
    if path.endswith("/place-codes") and method == "POST":
        more["json"] = {}
    if path.endswith("/moves"):
        more["json"] = {"move": "repeat", "version": 2}
        if "/communities/" in path:
            more["json"] = {"moves": [{"order_id": str(uuid4()), **more["json"]}]}
        more["headers"] = {"Idempotency-Key": str(uuid4())}
    if path.startswith("/ngsi-ld/"):
        more["params"] = {"type": "WasteContainer,Alert"} if path.endswith("/entities") else {}
        if method in ("POST", "PATCH"):
            more["json"] = {
                "type": "Subscription",
                "entities": [{"type": "WasteContainer"}],
                "notification": {"endpoint": {"uri": "https://events.example.cn/"}},
            }
        path = str(http.base_url).removesuffix("/api/v1/") + path
    if path.startswith("/n/"):
        answer = await http.request(method, str(http.base_url).removesuffix("/api/v1/") + path)
        return answer.status_code, answer.text
    if "/channels" in path and method in ("POST", "PUT"):
        more["json"] = {"code": "000000"} if path.endswith("/verify") else {}
        more["json"] |= {"sort": "sms", "address": "13800138000"} if path.endswith("channels") else {}
    if path.endswith("/contacts") and method == "POST":
        # Nobody is named twice: each asks for another number.
        more["json"] = {"name": "李娜", "relation": "女儿", "phone": f"138{uuid4().int % 10**8:08d}"}
        more["headers"] = {"Idempotency-Key": str(uuid4())}
    if path.startswith("/contacts/"):
        more = {"headers": {"If-Match": '"999"'}, "json": {"name": "李娜", "relation": "女儿"}}
        more |= {"json": None} if method == "DELETE" else {}
    if path.endswith("/contacts/order"):
        more = {"headers": {"If-Match": '"999"'}, "json": {"ids": [str(uuid4())]}}
    if path.endswith("/search"):
        more["json"] = {}
    more = _about_people(method, path) or more
    if "/gateways/" in path and method == "PUT":
        more["json"] = {"template": "json://sms.example/{to}"}
    answer = await http.request(method, path, **more)
    return answer.status_code, answer.text


def _about_people(method: str, path: str) -> dict[str, Any]:
    """What is sent to the routes about people; empty for all others."""
    seen, once = {"If-Match": '"999"'}, {"Idempotency-Key": str(uuid4())}
    bodies: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("POST", "/people", {"json": {"name": "x"}, "headers": once}),
        ("POST", "/people/import", {"content": "姓名\nx\n".encode()}),
        ("POST", "/reveal", {"json": {"purpose": "duty"}}),
        ("POST", "/move-out", {"json": {}, "headers": seen}),
        ("POST", "/consents", {"json": {"what": "family", "how": "paper"}, "headers": once}),
        ("POST", "/emergency-access", {"json": {"reason": "无人应答，需查看"}, "headers": once}),
        ("POST", "/erase", {"json": {"dry_run": True}}),
        ("PUT", "/retention/vitals", {"json": {"days": 90}}),
    )
    for verb, ending, sent in bodies:
        if method == verb and path.endswith(ending):
            return sent
    if path.startswith("/people/") and path.count("/") == 2 and method in ("PUT", "DELETE"):
        return {"headers": seen} | ({"json": {"name": "x"}} if method == "PUT" else {})
    return {}


def _knows_who(method: str, template: str, permission: Permission) -> bool:
    """Whether the route looks at who asks; the others treat everybody as nobody."""
    reports = template.endswith("/reports") and permission is P.ANYONE
    return permission is not P.ANYONE or (method, template) in FOLLOWED or reports


async def test_access_of_every_role_to_every_route_is_as_the_matrix_says(database_url: str) -> None:
    places = await populate(database_url)
    wrong: list[str] = []
    cells = 0
    async with api_server(database_url, query_timeout_s=60) as url:
        for role, username in ACCOUNTS.items():
            async with client(url, username) as http:
                http.headers["X-Purpose"] = "duty"
                for (method, template), permission in ROUTES.items():
                    if template.startswith("/auth/log"):
                        continue
                    for place in ("test", "other"):
                        if place == "other" and (method, template) not in SCOPED:
                            continue
                        status = await _status(
                            http, method, template.format(**places[place]), places[place]["order_id"]
                        )
                        reaches = place == "test" or role is Role.ADMIN
                        may = allowed(role, permission)
                        expected = 403 if not may else 404 if not reaches else 200
                        if expected == 200 and template == "/orders/{order_id}/moves":
                            expected = 422  # `repeat` is the system's own move: refused, but heard
                        if expected == 200 and template.endswith(("/rules/backtest", "/rules/diff")):
                            expected = 422  # from after to: refused, but heard
                        if expected == 200 and "/rules/" in template and method in ("PUT", "DELETE"):
                            expected = 412
                        if expected == 200 and (method, template) in HEARD:
                            expected = HEARD[method, template]
                        if (method, template) in FOLLOWED:
                            expected = 404
                        if template.endswith("/reports") and permission is P.ANYONE and role is Role.PLATFORM:
                            expected = 403  # a program has nothing to report
                        if template.endswith("/join") and expected == 409:
                            expected = 404  # there is no such order to join
                        if expected == 200 and template == "/people/{person_id}/export" and role is not Role.RESIDENT:
                            # For the person, or an administrator who says that it is for a copy.
                            expected = 422 if role is Role.ADMIN else 403
                        if (
                            expected in (200, 409)
                            and permission is P.HOUSEHOLD
                            and role is Role.RESIDENT
                            and "{" in template
                        ):
                            expected = 404  # of another household
                        if (
                            expected == 200
                            and permission in SENT
                            and role in OUTSIDERS
                            and "communities" not in template
                        ):
                            expected = 404  # none of theirs
                        if expected == 200 and "subscription_id}" in template and role is not Role.ADMIN:
                            expected = 404  # another account's
                        if expected == 200:
                            expected = NOT_DONE.get((method, template), 200)
                        expected = OWN.get((method, template), expected)
                        if role is Role.DISPLAY and method != "GET" and _knows_who(method, template, permission):
                            expected = 403  # a screen only looks
                        cells += 1
                        if status == 429 and template == "/displays/pairings":
                            status = expected  # all of them ask from one address: heard, and told to wait
                        if status != expected:
                            wrong.append(f"{role} {place} {method} {template}: {status}, expected {expected}")
    assert not wrong, "\n".join(wrong)
    assert cells == len(ACCOUNTS) * (len(ROUTES) - 2 + len(SCOPED))


async def test_access_without_a_session_is_refused_everywhere_but_at_the_login(database_url: str) -> None:
    places = await populate(database_url)
    async with api_server(database_url) as url, client(url) as http:
        for (method, template), permission in ROUTES.items():
            if permission is not P.ANYONE:
                assert await _status(http, method, template.format(**places["test"])) == 401, template


async def test_access_of_a_street_office_covers_its_communities_alone(database_url: str) -> None:
    await populate(database_url)
    async with api_server(database_url) as url:
        async with client(url, "street") as http:
            assert [one["id"] for one in (await http.get("/communities")).json()] == ["test"]
        async with client(url, "admin") as http:
            assert [one["id"] for one in (await http.get("/communities")).json()] == ["other", "test"]
        async with client(url, "o-desk") as http:
            assert [one["id"] for one in (await http.get("/communities")).json()] == ["other"]


@pytest.mark.parametrize(
    ("username", "sees"),
    [("desk", True), ("admin", True), ("grid1", True), ("patrol1", False), ("street", False), ("platform", False)],
)
async def test_access_to_vitals_is_masked_in_every_answer(database_url: str, username: str, sees: bool) -> None:
    from services.api.answers.health import HEALTH_RULES
    from tests.api_server import stream

    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await set_state(connection, "test-wristband-1", heart_rate=173, battery=51)
    rule = sorted(HEALTH_RULES)[0]
    alert, order = await raise_alert(connection, "test-wristband-1", rule_id=rule, trigger={"value": 173})
    async with api_server(database_url) as url, client(url, username) as http:
        http.headers["X-Purpose"] = "duty"
        for path in (
            "/communities/test/snapshot",
            "/communities/test/devices?kind=wristband",
            "/devices/test-wristband-1",
            "/communities/test/alerts",
            f"/alerts/{alert}",
        ):
            text = (await http.get(path)).text
            assert ("173" in lasting(text)) == sees, path
        assert "51" in (await http.get("/devices/test-wristband-1")).text
        detail = await http.get(f"/orders/{order}")
        assert ("燃气泄漏" in detail.text) == sees
        # Nor is its class told by asking for it.
        asked = {"class": await connection.fetchval("SELECT class_id FROM work_order WHERE id = $1", order)}
        listed = await http.get("/communities/test/orders", params=asked)
        assert listed.status_code == 200 and (str(order) in listed.text) == sees
        readings = await http.get("/devices/test-wristband-1/readings", params={"metric": "heart_rate"})
        assert readings.status_code == (200 if sees else 403)
        async with stream(http, "test", 0) as live:
            event = await live.named("alert")
            assert ("173" in lasting(str(event.data))) == sees
            devices = await live.named("devices")
            assert ("heart_rate" in devices.data["items"][0]["values"]) == sees
            await set_state(connection, "test-wristband-1", heart_rate=174, battery=51)
            devices = await live.named("devices")
            assert (devices.data["items"][0]["values"].get("heart_rate") == 174) == sees
    await connection.close()


async def test_access_to_vitals_is_written_to_the_audit_with_its_purpose(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url:
        async with client(url, "grid1") as http:
            await http.get("/devices/test-wristband-1", params={"purpose": "visit"})
            await http.get(
                "/devices/test-wristband-1/readings", params={"metric": "spo2"}, headers={"X-Purpose": "duty"}
            )
            await http.get("/devices/test-wristband-1/readings", params={"metric": "battery"})
            await http.get("/devices/test-bin-1")
        async with client(url, "patrol1") as http:
            await http.get("/devices/test-wristband-1")
        async with client(url, "desk") as http:
            await http.get("/communities/test/snapshot")
            await http.get("/communities/test/snapshot")
    rows = await connection.fetch(
        "SELECT actor_id, action, subject, detail FROM audit WHERE action LIKE 'health.%' ORDER BY id"
    )
    await connection.close()
    assert [tuple(row) for row in rows] == [
        ("user-grid1", "health.read", "device:test-wristband-1", {"purpose": "visit", "person": "test-p1"}),
        (
            "user-grid1",
            "health.read",
            "device:test-wristband-1",
            {"purpose": "duty", "metric": "spo2", "person": "test-p1"},
        ),
        ("user-desk", "health.watch", "community:test", {"purpose": "duty"}),
    ]


def test_access_test_accounts_cover_every_role() -> None:
    assert set(ACCOUNTS) == set(Role)
    assert PASSWORD
