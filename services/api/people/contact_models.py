"""What the API takes and answers about emergency contacts: whom to call for a person, in which order."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from services.api.answers.models import Model
from services.api.orders.notice_models import Language

Called = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Relation = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32)]
Number = Annotated[
    str,
    Field(min_length=3, max_length=32, description="手机 11 位，座机加区号，境外加 + · abroad: + and the country"),
]


class ContactIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "李娜", "relation": "女儿", "phone": "13800138000", "position": 1}]}
    )

    name: Called
    relation: Relation
    phone: Number
    position: int = Field(default=1, ge=1, le=20)
    language: Language = Field(default="zh", description="以何种语言通知 · in which language they are told")


class ContactChangeIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "李娜", "relation": "女儿", "phone": None}]})

    name: Called
    relation: Relation
    phone: Number | None = Field(default=None, description="null：号码不变 · the number stays")
    language: Language = "zh"


class ContactOrderIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["0b1c6d1e-6f0e-4c55-9d3a-6a1f0f6f2b11"]}]})

    ids: list[UUID] = Field(
        min_length=1, max_length=20, description="全部联系人，先拨打者在前 · all of them; called first: first"
    )

    @field_validator("ids")
    @classmethod
    def _once_each(cls, ids: list[UUID]) -> list[UUID]:
        if len(set(ids)) < len(ids):
            raise ValueError("有重复的联系人 · one of them is there twice")
        return ids


class ContactOut(Model):
    """One contact. `revealed`: name and number are whole."""

    id: UUID
    person_id: str
    revealed: bool
    name: str
    relation: str
    phone: str | None = Field(description="未显示时为掩码 · masked unless revealed")
    position: int
    language: Language | None
    created_at: datetime
    failing_since: datetime | None = Field(description="打不通 · since when nothing has come through to that number")
