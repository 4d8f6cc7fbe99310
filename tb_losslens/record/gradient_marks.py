"""Answers whether gradients are the very ones that they were before, without a look at their numbers."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from torch import Tensor

Marks = list[tuple[weakref.ref[Tensor], int]]
"""What tells a gradient that is still there from one that was cleared, set anew or added to."""


def marks_of(parameters: Iterable[Tensor], *, most: int | None = None) -> Marks:
    """Marks of the gradients of `parameters`, or of `most` of them.

    Writing to a tensor raises its version, and clearing it to None lets go of it. Empty without gradients, and where a
    tensor counts no versions (inference mode): that proves nothing.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    step = 1 if most is None else max(1, -(-len(gradients) // most))
    try:
        return [(weakref.ref(gradient), gradient._version) for gradient in gradients[::step]]
    except RuntimeError:
        return []


def are_same(before: Marks, now: Marks) -> bool:
    """The same tensors, and not written to since; False for none."""
    if not before or len(before) != len(now):
        return False
    return all(a() is b() and old == new for (a, old), (b, new) in zip(before, now, strict=True))
