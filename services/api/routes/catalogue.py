"""The words and kinds everything else refers to: device kinds, severities, teams, roles."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from services.api.answers.models import CatalogueOut, KindCommandOut, KindOut, MetricOut, NamedOut
from services.api.answers.shapes import label
from services.api.common import PREFIX, PROBLEMS, answer
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.domain.access import Permission
from services.domain.devices import CATALOGUE
from services.domain.devices.kind import CommandType, DeviceKind, Happens, Shows
from services.domain.vocabulary import ROLE_LABELS, SEVERITY_LABELS, TEAM_LABELS

router = APIRouter(prefix=PREFIX, tags=["catalogue 目录"], responses=PROBLEMS)


def _kind(kind: DeviceKind) -> KindOut:
    return KindOut(
        name=kind.name,
        label=label(kind.label),
        system=kind.system,
        interval_s=kind.interval_s,
        metrics=[
            MetricOut(
                name=metric.name,
                unit=metric.unit,
                label=label(metric.label),
                type=metric.type.value,
                low=metric.low,
                high=metric.high,
                options=list(metric.options),
            )
            for metric in kind.metrics
        ],
        events=[NamedOut(name=event.name, label=label(event.label)) for event in kind.events],
        commands=[
            KindCommandOut(
                name=command.name,
                label=label(command.label),
                dangerous=command.dangerous,
                params=list(command.params),
                lives_s=command.lives_s,
                calls=command.calls,
                shown_by=_shown_by(kind, command),
            )
            for command in kind.commands
        ],
    )


def _shown_by(kind: DeviceKind, command: CommandType) -> NamedOut | None:
    match command.proof:
        case Shows(metric):
            return next(NamedOut(name=one.name, label=label(one.label)) for one in kind.metrics if one.name == metric)
        case Happens(event):
            return next(NamedOut(name=one.name, label=label(one.label)) for one in kind.events if one.name == event)
    return None


@cache
def _catalogue() -> CatalogueOut:
    return CatalogueOut(
        kinds=[_kind(kind) for kind in CATALOGUE],
        severities=[NamedOut(name=name, label=label(words)) for name, words in SEVERITY_LABELS.items()],
        teams=[NamedOut(name=name, label=label(words)) for name, words in TEAM_LABELS.items()],
        roles=[NamedOut(name=name, label=label(words)) for name, words in ROLE_LABELS.items()],
    )


@router.get("/catalogue", response_model=CatalogueOut, summary="设备目录与词汇 Device kinds and vocabulary")
async def catalogue(_: Annotated[Ticket, needs(Permission.CATALOGUE)]) -> Response:
    return answer(_catalogue())
