"""Remembers 32 bits for each sample, and says which samples came back with others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.host_view import host_view

MOST_IDS = 1_000_000
"""Sample ids from 0 on that are remembered: 5 MB a table."""

PLACES = 32
"""Places of a sample that its fingerprint is made of."""

_GROWTH = 1 << 12
_PASSES = 255


@dataclass(frozen=True)
class Change:
    """A sample that came back different.

    Attributes:
        sample: its id.
        before: its fingerprint, or its label where fingerprints are labels.
        now: the same.
    """

    sample: int
    before: int
    now: int


class FingerprintTable:
    """Fingerprints by sample id; grows to 1,000,000 ids and stays there.

    Args:
        keep: changes that are kept with their values; the others are counted.
    """

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self._prints: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._seen: NDArray[np.uint8] = np.zeros(0, np.uint8)  # in which pass, modulo 255; 0: in none
        self._pass = 1
        self._newest = False
        self.compared = 0
        self.changed = 0
        self.changes: list[Change] = []

    def add(self, ids: NDArray[np.int64], prints: NDArray[np.uint32]) -> None:
        """Compares a batch with what is known of its samples, and remembers it; both of shape (n,)."""
        if not len(ids):
            return
        if int(ids.min()) < 0 or int(ids.max()) >= MOST_IDS:
            inside = (ids >= 0) & (ids < MOST_IDS)
            ids, prints = ids[inside], prints[inside]
            if not len(ids):
                return
        self._grow(int(ids.max()) + 1)
        seen = self._seen[ids]
        # of a sample that was read 255 passes before the last one and in none since, this is wrong: next to none is
        known = (seen == self._pass) | (seen == self._before) if self._newest else seen > 0
        before = self._prints[ids]
        self.compared += int(np.count_nonzero(known))
        other = known & (before != prints)
        count = int(np.count_nonzero(other))
        if count:
            self.changed += count
            for i in np.flatnonzero(other)[: max(0, self._keep - len(self.changes))]:
                self.changes.append(Change(int(ids[i]), int(before[i]), int(prints[i])))
        self._prints[ids] = prints
        self._seen[ids] = self._pass

    def next_pass(self, *, newest: bool) -> None:
        """Another pass begins; `newest`: samples that were not read in the one before are remembered, and not compared."""
        self._pass = self._pass % _PASSES + 1
        self._newest = newest

    @property
    def _before(self) -> int:
        return (self._pass - 2) % _PASSES + 1

    def reset(self) -> None:
        """Counts anew; what is known of the samples stays."""
        self.compared = self.changed = 0
        self.changes = []

    @property
    def nbytes(self) -> int:
        """Bytes that the table takes."""
        return self._prints.nbytes + self._seen.nbytes

    def _grow(self, size: int) -> None:
        if size > len(self._seen):
            room = min(MOST_IDS, max(size, 2 * len(self._seen), _GROWTH))
            more = room - len(self._seen)
            self._prints = np.concatenate([self._prints, np.zeros(more, np.uint32)])
            self._seen = np.concatenate([self._seen, np.zeros(more, np.uint8)])


def words_of(batch: Tensor) -> NDArray[Any] | None:
    """A copy of the bits of each sample at up to 32 places, uint8, uint16, uint32 or uint64 of shape (n, places).

    None for a batch that is not a strided one on the CPU. A single integer a sample comes whole and signed, int64 of shape
    (n, 1): it is a label.
    """
    if batch.device.type != "cpu" or batch.layout != torch.strided or batch.is_quantized or not batch.numel():
        return None
    exact = not batch.is_floating_point() and not batch.is_complex()
    if batch.is_complex() or batch.dtype == torch.bfloat16:
        batch = torch.view_as_real(batch.detach()) if batch.is_complex() else batch.detach().view(torch.int16)
    values = host_view(batch)
    table = values.reshape(len(values), -1)
    if exact and table.shape[1] == 1 and table.dtype.kind in "iu":
        return table.astype(np.int64)
    picked: NDArray[Any] = table[:, :: _stride(table.shape[1], values.shape[-1] if values.ndim > 2 else 1)][:, :PLACES].copy()
    return picked.view(f"u{picked.dtype.itemsize}")


def prints_of(words: NDArray[Any]) -> NDArray[np.uint32]:
    """A fingerprint of each sample, uint32 of shape (n,), from its words; a label of 32 bits is its own fingerprint.

    Two that differ prove that the samples do, two that are equal make it likely that they do not.
    """
    if words.dtype == np.int64:
        folded: NDArray[np.uint32] = words[:, 0].astype(np.uint32)
        return folded
    table = words.view(np.uint32) if words.dtype.itemsize >= 4 else words.astype(np.uint32)
    mixed = table ^ (table >> np.uint32(15))
    total: NDArray[np.uint32] = mixed @ _weights(mixed.shape[1])
    total ^= total >> np.uint32(16)
    return total


@lru_cache(maxsize=256)
def _stride(size: int, last: int) -> int:
    widest = max(1, (size - 1) // (PLACES - 1))
    return next(step for step in range(widest, 0, -1) if math.gcd(step, last) == 1)


@lru_cache(maxsize=64)
def _weights(count: int) -> NDArray[np.uint32]:
    """Odd numbers without a pattern, shape (count,): multiples of one number would make small integers meet."""
    numbers = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    weights: NDArray[np.uint32] = (numbers >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    return weights
