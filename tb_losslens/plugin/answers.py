"""Keeps answers about runs that rest as they were sent: a page opened again, or by somebody else, costs no work."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

MOST = 32 << 20
"""Bytes kept at most; an answer has at most 250 KB."""

_LEVEL = 6
"""One higher saves nothing of note; TensorBoard's own 3, made for each request anew, leaves a tenth more to send."""


class Answers:
    """Gzipped bodies by key, least recently used dropped first. Thread safe.

    Args:
        most: bytes that are kept at most.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable, make: Callable[[], str]) -> bytes:
        """The gzipped answer for `key`, made now if it is not there; two that ask at once may both make it."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                return known
        body = gzip.compress(make().encode(), compresslevel=_LEVEL, mtime=0)
        with self._lock:
            self._size += len(body) - len(self._kept.pop(key, b""))
            self._kept[key] = body
            while self._size > self._most and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return body
