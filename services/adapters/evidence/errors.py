"""What can go wrong with the store of evidence."""

from __future__ import annotations

import errno


class Missing(Exception):
    """There is no object of that name, though a row says so."""


class Damaged(Exception):
    """The object's bytes are not those its name says."""


class StoreAway(OSError):
    """The store does not answer, or may not be written to."""


class NoRoom(OSError):
    """The disk is full, or so nearly that what is left is for others."""


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
