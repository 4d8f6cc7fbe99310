"""The compiled digests (digests.c), where they were built with the package; numpy gives the same numbers without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

INTERFACE = 1
"""Of digests.c: one that was compiled from other sources is left alone."""

appended: Callable[[Any, int, int], tuple[int, int]] | None = None
"""(sum, order) of ids, a buffer of int64, after those of the ids before them, all modulo 2**64; None where not compiled."""

weighted: Callable[[Any], int] | None = None
"""Weighted sum modulo 2**64 of the bytes of a buffer, of 65,536 * 8192 words at most; None where not compiled."""

try:
    from tb_losslens.record import _digests
except ImportError:  # built without a compiler
    pass
else:
    if _digests.INTERFACE == INTERFACE:
        appended, weighted = _digests.appended, _digests.weighted
