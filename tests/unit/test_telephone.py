"""Telephone numbers of emergency contacts: what can be called, and in words what cannot."""

from __future__ import annotations

import pytest

from services.domain.notices import Telephone, parse_telephone

RIGHT = [
    ("138 0013 8000", "13800138000", True),
    ("+86 138-0013-8000", "+8613800138000", True),
    ("199‑1234‑5678", "19912345678", True),
    ("010-65525555", "01065525555", False),
    ("（0792）8123456", "07928123456", False),
    ("0792 81234567", "079281234567", False),
    ("+86 10 6552 5555", "+861065525555", False),
    ("+44 20 7946 0958", "+442079460958", True),
    ("+1 (202) 555-0143", "+12025550143", True),
]
WRONG = [
    ("1380013800", "11 digits; this one has 10"),
    ("138001380001", "11 digits; this one has 12"),
    ("+86138001380", "this one has 9"),
    ("12345678901", "no mobile number begins like that"),
    ("65525555", "area code"),
    ("8123456", "area code"),
    ("119", "a service, not a person"),
    ("120", "a service, not a person"),
    ("1380013800a", "nothing but digits"),
    ("女儿", "nothing but digits"),
    ("", "nothing but digits"),
    ("+", "nothing but digits"),
    ("01012345678", "cannot be called"),
    ("+8601234", "cannot be called"),
    ("+442", "cannot be called"),
    ("+1234567890123456", "cannot be called"),
]


@pytest.mark.parametrize(("text", "number", "messages"), RIGHT)
def test_telephone_is_kept_as_it_is_dialled(text: str, number: str, messages: bool) -> None:
    assert parse_telephone(text) == Telephone(number, messages)


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_telephone_that_cannot_be_called_is_said_to_be_wrong_in_both_languages(text: str, words: str) -> None:
    fault = parse_telephone(text)
    assert not isinstance(fault, Telephone)
    assert words in fault.en
    assert fault.zh and not set(fault.zh) & set("abcdefg")
