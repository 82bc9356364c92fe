"""Members of a JSON object that a client of NGSI-LD sent: read, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from services.domain.city.ngsi.asking import AskedWrongly, Fault


def wrong(zh: str, en: str) -> NoReturn:
    raise AskedWrongly(Fault.BAD_REQUEST_DATA, zh, en)


def refused(name: str) -> NoReturn:
    raise AskedWrongly(Fault.UNSUPPORTED, f"不支持 {name}", f"{name} is not done here")


def check(within: str, given: Mapping[str, Any], known: tuple[str, ...], unsupported: tuple[str, ...]) -> None:
    for name, value in given.items():
        if name in unsupported and value is not False:
            refused(within + name)
        if name not in known and name not in unsupported:
            wrong(f"没有成员 {within}{name[:40]}", f"there is no member {within}{name[:40]}")
        if value is None:
            wrong(f"{within}{name} 不能为 null", f"{within}{name} cannot be null")


def object_of(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = given.get(name)
    if not isinstance(found, Mapping):
        wrong(f"{name} 须为对象", f"{name} has to be an object")
    return found


def text_in(given: Mapping[str, Any], name: str, most: int) -> str:
    found = given.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= most:
        wrong(f"{name} 须为 1 至 {most} 字符的文本", f"{name} is a text of 1 to {most} characters")
    return found


def flag(given: Mapping[str, Any], name: str, default: bool) -> bool:
    found = given.get(name, default)
    if not isinstance(found, bool):
        wrong(f"{name} 须为 true 或 false", f"{name} is true or false")
    return found


def names_in(given: Mapping[str, Any], name: str, most: int) -> list[str]:
    """Empty where the member is not there; never an empty list that is."""
    if name not in given:
        return []
    found = given[name]
    plain = isinstance(found, list) and all(isinstance(one, str) and 0 < len(one) <= 200 for one in found)
    if not plain or not 0 < len(found) <= most:
        wrong(f"{name} 须为 1 至 {most} 个名称的数组", f"{name} is an array of 1 to {most} names")
    return list(found)
