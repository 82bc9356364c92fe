"""Monthly reports made on demand: one at a time in a process of their own, and kept while their content is the same."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from services.adapters.monthly.document import digest
from services.adapters.monthly.render import Sort, render
from services.domain.kpis.month import Month

_KEPT_BYTES = 32 << 20


class MonthlyReports:
    """Files by content. Whoever asks for one that is being made waits for it; another is made after it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._one = asyncio.Lock()

    async def get(self, month: Month, sort: Sort) -> tuple[str, bytes]:
        """The mark of its content, and the file. Raises NoFont and RenderFailed."""
        mark = digest(month, sort)
        async with self._one:
            content = self._kept.get(mark)
            if content is None:
                content = await render(month, sort)
                self._kept[mark] = content
                while sum(map(len, self._kept.values())) > _KEPT_BYTES and len(self._kept) > 1:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(mark)
        return mark, content
