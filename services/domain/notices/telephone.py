"""Telephone numbers of people who are to be called when it matters: what cannot be one is said while it is entered."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.domain.vocabulary import Label

_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_LANDLINE = re.compile(r"0(?:10|2[0-9])[2-9][0-9]{7}|0[3-9][0-9]{2}[2-9][0-9]{6,7}")
_LOCAL = re.compile(r"[2-9][0-9]{6,7}")
_ABROAD = re.compile(r"\+(?!86)[1-9][0-9]{6,14}")
"""ITU-T E.164: fifteen digits at most, the country's among them."""
_SERVICES = frozenset({"110", "112", "119", "120", "122", "999", "12345"})


@dataclass(frozen=True, slots=True)
class Telephone:
    number: str
    """As it is kept: digits, with `+` and the country where one was given."""
    takes_messages: bool
    """Landlines of the mainland take calls alone; of numbers abroad nobody knows."""


def parse_telephone(text: str) -> Telephone | Label:
    """The number, or what is wrong with it. Mainland numbers by the numbering plan of the MIIT (电信网编号计划, 2017):
    mobiles of 11 digits, landlines with their area code; others with `+` and their country."""
    number = re.sub(r"[\s()（）\u2010-\u2014-]", "", text)
    if number in _SERVICES:
        return Label(
            "110、119、120 等是求助电话，请填写亲友的号码",
            "that is a service, not a person: enter the number of family",
        )
    if _ABROAD.fullmatch(number):
        return Telephone(number, True)
    at_home = number.removeprefix("+86")
    if _MOBILE.fullmatch(at_home):
        return Telephone(number, True)
    # Abroad the leading 0 of an area code is left out.
    if _LANDLINE.fullmatch(at_home if at_home == number else f"0{at_home.removeprefix('0')}"):
        return Telephone(number, False)
    if not re.fullmatch(r"\+?[0-9]+", number):
        return Label("电话号码只能有数字", "a telephone number has nothing but digits")
    if _LOCAL.fullmatch(number):
        return Label("座机请加区号，如 0792", "a landline needs its area code, such as 0792")
    if at_home.startswith("1") and not at_home.startswith("10"):
        digits = len(at_home)
        if digits != 11:
            return Label(f"手机号应为 11 位，现为 {digits} 位", f"a mobile number has 11 digits; this one has {digits}")
        return Label("没有这样的手机号段，请核对", "no mobile number begins like that; look at it again")
    return Label(
        "不是可拨打的号码：手机 11 位，座机加区号，境外以 + 和国家代码开头",
        "that cannot be called: mobiles have 11 digits, landlines their area code, numbers abroad + and the country",
    )
