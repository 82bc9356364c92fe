"""Which passwords are refused: too short, in every guesser's list, or made of what everybody knows of the owner.

After NIST SP 800-63B, 3.1.1: length and a list of what is common; no rules of composition, no change by the calendar.
"""

from __future__ import annotations

import re
from itertools import pairwise

from services.domain.vocabulary import Label

SHORTEST, LONGEST = 10, 128

_WORDS = """
    password passw0rd p@ssw0rd p@ssword passwd qwerty qwertyuiop qwert qazwsx qazwsxedc qweasdzxc asdfghjkl zxcvbnm
    1qaz2wsx 1qaz2wsx3edc 1q2w3e4r 1q2w3e4r5t q1w2e3r4 q1w2e3r4t5 zaq12wsx zxcvbnm asdf qwer abc abcd abcdef abcdefg
    admin administrator root test guest user welcome letmein changeme default iloveyou monkey dragon football sunshine
    princess master shadow superman trustno woaini woaiwojia woaizhongguo wodemima mima wobuzhidao aini aiwo loveyou
    zhongguo beijing shanghai shequ wangge wuye juweihui zhihuishequ baobao laopo laogong nihao nihaoma taobao weixin
    huawei a b aa aaa aaaa qq wang zhang li liu chen yang zhao huang zhou wu wangwei zhangwei lixiang lijie linhub
    linhubdemo linshu smartcommunity community 邻枢 社区 密码 我爱你 我爱中国 管理员 智慧社区
"""
_COMMON = frozenset(_WORDS.split())
"""What is left of a common password when digits and signs around it are taken off."""
_DIGITS = """
    1314520 5201314 520520 521521 1314 520 666 888 8888 88888888 666666 168168 147258369 147258 258369 159357 123321
    112233 11223344 1122334455 123123 123123123 321321 0123456789 9876543210 987654321 7758521 7758258 5211314 314159
"""
_NUMBERS = frozenset(_DIGITS.split())
_MADE_OF_NUMBERS = re.compile(f"(?:{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})+")
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def fault(password: str, *names: str) -> Label | None:
    """Why it is refused, in words that say what to do; None where it may be used.

    `names`: what everybody knows of the owner, such as the user name and the name shown.
    """
    if len(password) < SHORTEST:
        return Label(
            f"密码至少 {SHORTEST} 个字符，可用一句话", f"use at least {SHORTEST} characters; a sentence is good"
        )
    if len(password) > LONGEST:
        return Label(f"密码最多 {LONGEST} 个字符", f"use at most {LONGEST} characters")
    plain = password.casefold()
    for name in names:
        short = name.casefold().strip()
        if len(short) >= 3 and (short in plain and len(plain) - len(short) < 8):
            return Label("密码不能由用户名或姓名加几个字符组成", "do not build it from the user name or the name shown")
    if _few(plain) or _runs(plain):
        return Label("密码由重复或连续的字符组成，太容易猜", "it repeats or counts on; choose something less regular")
    if _common(plain):
        return Label("这是最常见的密码之一，请换一个", "this is among the commonest passwords; choose another")
    return None


def _few(plain: str) -> bool:
    """Whether it is a few characters or one short piece over and over."""
    if len(set(plain)) < 4:
        return True
    return any(len(plain) % n == 0 and plain[:n] * (len(plain) // n) == plain for n in range(1, 6))


def _runs(plain: str) -> bool:
    """Whether nearly all of it counts up or down: 1234567890, abcdefghij."""
    steps = [ord(b) - ord(a) for a, b in pairwise(plain)]
    return max(steps.count(1), steps.count(-1)) >= len(steps) - 2


def _common(plain: str) -> bool:
    straight = plain.translate(str.maketrans("@$!", "asi"))
    for form in (plain, straight):
        core = _ENDS.sub("", form)
        if form in _COMMON or core in _COMMON:
            return True
    digits = re.sub(r"[^0-9]", "", plain)
    letters = re.sub(r"[\d\W_]", "", plain)
    # Letters that mean nothing around a number that everybody uses, and birthdays or telephone numbers alone.
    few_letters = len(letters) <= 2 or letters in _COMMON
    dated = re.fullmatch(r"(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])", digits)
    phone = re.fullmatch(r"1[3-9]\d{9}", digits)
    return few_letters and (
        bool(_MADE_OF_NUMBERS.fullmatch(digits)) or bool(dated) or bool(phone) or (bool(digits) and _runs(digits))
    )
