"""What of health data one reader is shown, and what for: the role, the consent of the wearer, a purpose of the list."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Query

from services.api.web.problems import ApiError
from services.domain.access import Principal
from services.domain.people.privacy import PURPOSES, PURPOSES_OF, Purpose

_GIVEN = frozenset[Purpose]().union(*PURPOSES_OF.values())
_LIST = "、".join(f"{purpose.value}（{words.zh}）" for purpose, words in PURPOSES.items() if purpose in _GIVEN)
_LIST_EN = ", ".join(purpose for purpose in PURPOSES if purpose in _GIVEN)
NO_CONSENT = (
    "本人未同意或已撤回同意，体征不予显示；紧急情况请先登记紧急访问 · there is no consent of the person (any more): "
    "vitals are not shown; in an emergency, ask for emergency access first"
)


async def _purpose(
    query: Annotated[
        Purpose | None,
        Query(alias="purpose", description="用途，读取健康数据必填 · why; health data needs it"),
    ] = None,
    header: Annotated[Purpose | None, Header(alias="X-Purpose", description="同上，优先 · the same; it wins")] = None,
) -> Purpose | None:
    return header or query


AskedFor: Any = Depends(_purpose)


def required(purpose: Purpose | None, who: Principal) -> Purpose:
    """The purpose, if it was given and can be this role's. Raises ApiError 422 with the list."""
    if purpose is None:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"读取健康数据须说明用途：请加 X-Purpose 请求头，取 {_LIST} · health data needs a purpose: send the header "
            f"X-Purpose, one of {_LIST_EN}",
        )
    own = PURPOSES_OF.get(who.role, frozenset())
    if purpose not in own:
        words = PURPOSES[purpose]
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"您的角色不能以“{words.zh}”为用途，可用：{'、'.join(sorted(own))} · your role cannot read for "
            f"“{words.en.lower()}”; it can for: {', '.join(sorted(own))}",
        )
    return purpose
