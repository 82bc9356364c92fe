"""Who may do and see what: roles to permissions, denied by default, and the scope each account is bound to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.domain.vocabulary import Role, Team


class Permission(StrEnum):
    """What a route asks for. `ANYONE` needs no login; every other one is given to roles below."""

    ANYONE = "anyone"
    SELF = "self"
    CATALOGUE = "catalogue"
    COMMUNITY = "community"
    """A community's name, place and size."""
    PUBLIC_VALUES = "public_values"
    """Air, temperature, noise, parking left: what a screen at the gate would show."""
    COCKPIT = "cockpit"
    """The plan with every device, alert and order, and its live stream."""
    DEVICES = "devices"
    READINGS = "readings"
    SERIES = "series"
    ALERTS = "alerts"
    ORDERS = "orders"
    ORDER_MOVES = "order_moves"
    ORDER_OPEN = "order_open"
    """To open an order for what somebody saw: patrols, staff, the desk."""
    ORDER_CLASS_EDIT = "order_class_edit"
    """To change the classes of orders: their clocks, ladders and needs."""
    ROSTERS = "rosters"
    """Who is on duty when."""
    ROSTER_EDIT = "roster_edit"
    EVIDENCE = "evidence"
    """Photos, clips and voice notes of orders."""
    EVIDENCE_ADD = "evidence_add"
    EVIDENCE_REMOVE = "evidence_remove"
    """To take a picture away, with a reason."""
    PLACE_CODES = "place_codes"
    """The codes that hang at places: to make, print and void them."""
    REPORT = "report"
    """To report something (随手拍, 报事报修), to follow it and to rate it."""
    REPORT_DESK = "report_desk"
    """To file, refuse and join what is reported, and to call people back."""
    NOTICES = "notices"
    """Who was told of what, and whether it arrived."""
    GATEWAYS = "gateways"
    """To say by which gateways a community sends messages, calls and mail."""
    KPIS = "kpis"
    QUARANTINE = "quarantine"
    LEDGER = "ledger"
    RULES = "rules"
    """What sets off which alert."""
    RULE_EDIT = "rule_edit"
    RULE_SAFETY = "rule_safety"
    """To change a rule that people's lives hang on; asked for beside RULE_EDIT."""
    SILENCES = "silences"
    """To decide what nobody is to be told of for a while, and how many orders an hour are enough."""
    HOUSEHOLD = "household"
    """To answer for the people of a home: that all is well, that they are away."""
    PLANS = "plans"
    """Linkage plans and what their runs have done."""
    PLAN_EDIT = "plan_edit"
    """To write, approve, rehearse and cancel them."""
    COMMANDS = "commands"
    """What devices are told, by whom, and what became of it."""
    COMMAND_ASK = "command_ask"
    COMMAND_APPROVE = "command_approve"
    """To approve, reject and review what somebody else asked for."""
    COMMAND_SCHEDULE = "command_schedule"
    """To tell many devices at once, and to say when lamps go on and off."""
    HEALTH = "health"
    """Heart rate, blood pressure and the like, and alerts about them."""
    USERS = "users"
    """Accounts: to make and change them, to disable and enable them, and to end their sessions."""
    USERS_HELP = "users_help"
    """To let somebody in again: to free an account that is locked out, to reset a password."""
    KEYS = "keys"
    """API keys and clients of platforms and services."""
    DISPLAYS = "displays"
    """To pair screens and to cut them off."""
    REGISTRY = "registry"
    """Places and devices in full: gateways, codecs, intervals, what is retired."""
    REGISTRY_EDIT = "registry_edit"
    PEOPLE = "people"
    """Who lives where, by name, telephone number and tags."""
    PEOPLE_EDIT = "people_edit"
    PRIVACY = "privacy"
    """To hand out and to erase everything kept about one person."""
    AUDIT = "audit"
    EXPORT = "export"
    """Readings in bulk, as files."""
    FACILITIES = "facilities"
    """How facilities are used: people by hour, by day, by place."""
    REPLAY = "replay"
    """The cockpit as it was at a time that is past."""
    FORECASTS = "forecasts"
    CITY_EVENTS = "city_events"
    """What happens, as it is published to city platforms: to pull one's own subscriptions, and to look after them."""
    CITY_CASES = "city_cases"
    """To open orders from above, to follow them, to press for them and to withdraw them."""
    CITY_ANSWER = "city_answer"
    """To say which photos of the work whoever opened a case is given."""
    CITY_EDIT = "city_edit"
    """To make subscriptions for platforms, and to say what data each is granted."""


_PUBLIC = frozenset({Permission.SELF, Permission.CATALOGUE, Permission.COMMUNITY, Permission.PUBLIC_VALUES})
# What they send themselves, they may see; the rows say whose is whose.
_REPORTS = frozenset({Permission.REPORT, Permission.EVIDENCE, Permission.EVIDENCE_ADD})
_WATCH = _PUBLIC | {
    Permission.COCKPIT,
    Permission.DEVICES,
    Permission.READINGS,
    Permission.SERIES,
    Permission.ALERTS,
    Permission.ORDERS,
    Permission.KPIS,
    Permission.RULES,
    Permission.PLANS,
    Permission.FACILITIES,
    Permission.FORECASTS,
}
_WORK = _WATCH | {
    Permission.ORDER_MOVES,
    Permission.ORDER_OPEN,
    Permission.ROSTERS,
    Permission.EVIDENCE,
    Permission.EVIDENCE_ADD,
    Permission.REPORT,
}
_KEEP = _WORK | {
    Permission.QUARANTINE,
    Permission.LEDGER,
    Permission.HEALTH,
    Permission.SILENCES,
    Permission.HOUSEHOLD,
    Permission.ROSTER_EDIT,
    Permission.NOTICES,
    Permission.REPORT_DESK,
    Permission.EVIDENCE_REMOVE,
    Permission.PLACE_CODES,
    Permission.DISPLAYS,
    Permission.USERS_HELP,
    Permission.REGISTRY,
    Permission.PEOPLE,
    Permission.EXPORT,
    Permission.REPLAY,
    Permission.COMMANDS,
    Permission.COMMAND_ASK,
    Permission.COMMAND_APPROVE,
    Permission.COMMAND_SCHEDULE,
    Permission.CITY_ANSWER,
}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.RESIDENT: _PUBLIC | _REPORTS | {Permission.HOUSEHOLD},
    Role.MERCHANT: _PUBLIC | _REPORTS,
    Role.VISITOR: _PUBLIC | _REPORTS,
    Role.STAFF: _WORK,
    Role.GRID: _WORK
    | {
        Permission.HEALTH,
        Permission.HOUSEHOLD,
        Permission.PEOPLE,
        Permission.COMMANDS,
        Permission.COMMAND_ASK,
    },
    Role.DESK: _KEEP | {Permission.RULE_EDIT, Permission.PLAN_EDIT, Permission.PEOPLE_EDIT},
    Role.STREET: _WORK | {Permission.REPLAY, Permission.COMMANDS, Permission.COMMAND_APPROVE, Permission.CITY_EVENTS},
    Role.PLATFORM: _WATCH | {Permission.CITY_EVENTS, Permission.CITY_CASES},
    Role.DISPLAY: _WATCH - {Permission.READINGS, Permission.RULES, Permission.PLANS},
    Role.ADMIN: _KEEP
    | {
        Permission.RULE_EDIT,
        Permission.RULE_SAFETY,
        Permission.PLAN_EDIT,
        Permission.ORDER_CLASS_EDIT,
        Permission.GATEWAYS,
        Permission.USERS,
        Permission.KEYS,
        Permission.REGISTRY_EDIT,
        Permission.PEOPLE_EDIT,
        Permission.PRIVACY,
        Permission.AUDIT,
        Permission.CITY_EVENTS,
        Permission.CITY_CASES,
        Permission.CITY_EDIT,
    },
}
"""The whole matrix; a role that is not here may do nothing."""

_UNBOUND = frozenset({Role.ADMIN, Role.PLATFORM})
"""Roles that reach every community when their account names neither a community nor a street."""

_AT_HOME = frozenset({Role.RESIDENT, Role.MERCHANT, Role.VISITOR})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: an account with its role and the scope it is bound to."""

    id: str
    username: str
    display_name: str
    role: Role
    team: Team | None
    community_id: str | None = None
    street_id: str | None = None
    grid_id: str | None = None
    household_id: str | None = None
    leads: bool = False
    """Leads the team."""
    limits: frozenset[Permission] | None = None
    """What a key or a screen was given of the role's permissions; None: all of them."""

    def may(self, permission: Permission) -> bool:
        """Ask this of whoever asks, never the role alone: a key has less than its account."""
        return allowed(self.role, permission) and (self.limits is None or permission in self.limits)


@dataclass(frozen=True, slots=True)
class ReaderClass:
    """All readers for whom a thing of one community looks the same, so that it is written once for them all."""

    role: Role
    team: Team | None
    health: bool
    grid_id: str | None
    """Set for 网格员 alone: they see health data of their own 网格 only."""

    def sees_health(self, grid_id: str | None) -> bool:
        """Whether health data of a device in this 网格 (None: in none that is known) is shown."""
        if not self.health:
            return False
        return self.role is not Role.GRID or (self.grid_id is not None and self.grid_id == grid_id)


def allowed(role: Role, permission: Permission) -> bool:
    return permission is Permission.ANYONE or permission in PERMISSIONS.get(role, frozenset())


def reader_class(who: Principal) -> ReaderClass:
    return ReaderClass(
        role=who.role,
        team=who.team,
        health=who.may(Permission.HEALTH),
        grid_id=who.grid_id if who.role is Role.GRID else None,
    )


def city_wide(role: Role) -> bool:
    """Whether an account of this role that names neither a community nor a street reaches every community."""
    return role in _UNBOUND


def own_household_only(role: Role) -> bool:
    """Whether accounts of this role see, of homes and people, their own alone."""
    return role in _AT_HOME


def reaches_community(who: Principal, community_id: str, street_id: str) -> bool:
    """Whether the account's scope holds this community; bound to nothing reaches nothing, save for city-wide roles."""
    if who.community_id is not None:
        return who.community_id == community_id
    if who.street_id is not None:
        return who.street_id == street_id
    return city_wide(who.role)


def reaches_grid(who: Principal, grid_id: str | None) -> bool:
    """Whether the account may act on something in this 网格; only 网格员 are bound to one."""
    return who.role is not Role.GRID or (who.grid_id is not None and who.grid_id == grid_id)


def reaches_household(who: Principal, household_id: str | None) -> bool:
    """Whether a household's own things are the account's: residents and merchants see their own, staff see all."""
    if own_household_only(who.role):
        return who.household_id is not None and who.household_id == household_id
    return True
