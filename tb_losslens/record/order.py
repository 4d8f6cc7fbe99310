"""Answers whether two epochs had the same samples, and whether in the same order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.record import digests

EDGE = 16
"""Ids kept from each end of an epoch."""

_AT_ONCE = 4096
_BASE = 0xD1342543DE82EF95  # odd, of a congruential generator modulo 2**64 with good spectra (Steele and Vigna 2021)


class OrderDigest:
    """Digest of the sample ids of one epoch, fed batch by batch.

    `order_hash` depends on the order, `set_hash` does not: it is the sum of a 64-bit mix of each id, modulo 2**64, so that
    an id that came twice counts twice. The mix is the finaliser of splitmix64 (Steele, Lea and Flood 2014). The order is a
    polynomial whose coefficients are these mixes, modulo 2**64: several times as fast as a cryptographic hash, which nothing
    here needs.
    """

    def __init__(self) -> None:
        self._order = self._sum = 0
        self._waiting: list[NDArray[np.int64]] = []
        self._waits = 0
        self._first: list[int] = []
        self._last: list[int] = []
        self.count = 0
        self.known = True

    def add(self, ids: NDArray[np.int64] | None) -> None:
        """Appends a batch of ids, int64 of shape (n,), or several of shape (batches, n); None makes the whole epoch unknown."""
        if ids is None or not self.known:
            self.known = False
            return
        self._waiting.append(ids)
        self._waits += ids.size
        self.count += ids.size
        if self._waits >= _AT_ONCE:
            self._digest()

    def _digest(self) -> None:
        """Takes what waits, many batches at a time: a handful of ids is not worth the calls."""
        if self._waiting:
            waiting = [ids.ravel() for ids in self._waiting]
            ids = np.ascontiguousarray(np.concatenate(waiting) if len(waiting) > 1 else waiting[0], np.int64)
            self._first.extend(ids[: EDGE - len(self._first)].tolist())
            self._last = (self._last + ids[-EDGE:].tolist())[-EDGE:]
            self._sum, self._order = (digests.appended or appended)(ids, self._sum, self._order)
            self._waiting, self._waits = [], 0

    def fields(self) -> dict[str, Any]:
        """`order_hash`, `set_hash` (16 hex digits), `first_ids`, `last_ids`; None and empty where an id is unknown."""
        if not self.known or not self.count:
            return {"order_hash": None, "set_hash": None, "first_ids": [], "last_ids": []}
        self._digest()
        return {
            "order_hash": f"{_mixed(self._order):016x}",
            "set_hash": f"{self._sum:016x}",
            "first_ids": self._first,
            "last_ids": self._last,
        }


def appended(ids: NDArray[np.int64], total: int, order: int) -> tuple[int, int]:
    """(sum, order) after these ids, int64 of shape (n,), from those before them; compiled in digests.c."""
    for start in range(0, len(ids), _AT_ONCE):  # larger pieces would each take new memory from the system
        mixed = _mix(ids[start : start + _AT_ONCE])
        powers = _powers()[-len(mixed) :]
        total = (total + int(mixed.sum(dtype=np.uint64))) % 2**64
        order = (order * int(powers[0]) * _BASE + int(np.dot(mixed, powers))) % 2**64
    return total, order


@lru_cache(maxsize=1)
def _powers() -> NDArray[np.uint64]:
    """Falling powers of the base down to the 0th, modulo 2**64, shape (4096,)."""
    with np.errstate(over="ignore"):
        rising = np.cumprod(np.full(_AT_ONCE - 1, _BASE, np.uint64), dtype=np.uint64)
    return np.concatenate([rising[::-1], np.ones(1, np.uint64)])


def _mixed(x: int) -> int:
    """`_mix` of a single number."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def _mix(ids: NDArray[Any]) -> NDArray[np.uint64]:
    x: NDArray[np.uint64] = ids.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
