"""Quick searches: what takes less than a hand-over to a thread and back is done at once.

Only searches that look at few rows may be: how long others take depends on what is asked. Nobody else is answered
meanwhile, so a search is done at once only where those like it took less than a millisecond in this snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

from lookalike.serving.query.query import Query
from lookalike.serving.search.selection import REACHES
from lookalike.tasks.search.searcher import Searcher

AT_ONCE_SECONDS = 0.001
MEASURED = 8
"""Searches that are measured before any is done at once; the mean of them forgets the oldest as slowly."""
FILTERED_ROWS = 20_000
"""Products up to which a filter takes no time to speak of."""
FEW_CONDITIONS = 4

T = TypeVar("T")


@dataclass(slots=True)
class Times:
    """How long searches of one kind took, in seconds of a core."""

    mean: float = 0.0
    count: int = 0

    @property
    def are_short(self) -> bool:
        """Whether the next one will take less than a hand-over, as far as one can know."""
        return self.count >= MEASURED and self.mean < AT_ONCE_SECONDS

    def measure(self, search: Callable[[], T]) -> T:
        """Search, and remember how long it took: not by the clock, which also runs while others have the core."""
        began = time.thread_time()
        found = search()
        self.count += 1
        self.mean += (time.thread_time() - began - self.mean) / min(self.count, MEASURED)
        return found


def find_times(searcher: Searcher, query: Query) -> Times | None:
    """Return how long searches like this one take; None for those that are never done at once."""
    if not _looks_at_few(searcher, query):
        return None
    known = _times.setdefault(searcher, {})
    return known.setdefault(bool(query.options.filter), Times())


_times: WeakKeyDictionary[Searcher, dict[bool, Times]] = WeakKeyDictionary()


def _looks_at_few(searcher: Searcher, query: Query) -> bool:
    options = query.options
    if query.has_text or options.facets or searcher.manifest.index.on_disk:
        return False
    if options.sort is not None or options.group_by is not None or options.collapse is not None:
        return False
    if options.offset + options.k + len(query.examples) > REACHES[0]:
        return False
    return not options.filter or (len(options.filter) <= FEW_CONDITIONS and searcher.products.rows <= FILTERED_ROWS)
