"""Results that are kept: traces and timings, which serve many machines."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

ROWS_KEPT = 1 << 21  # executed instructions in all that a cache keeps; one takes about 100 bytes
T = TypeVar("T")


class Cache:
    """The most recently used results of a pure function, by key: so many, and of so much weight together."""

    def __init__(self, size: int, weight: Callable[[Any], int] = lambda result: 0) -> None:
        self._size, self._weight = size, weight
        self._kept: OrderedDict[Hashable, object] = OrderedDict()
        self._weights = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result for ``key``, making it if it is not kept."""
        if key not in self._kept:
            self._kept[key] = made = make()
            self._weights += self._weight(made)
            while len(self._kept) > self._size or (self._weights > ROWS_KEPT and len(self._kept) > 1):
                _, oldest = self._kept.popitem(last=False)
                self._weights -= self._weight(oldest)
        self._kept.move_to_end(key)
        return self._kept[key]  # type: ignore[return-value]
