"""Reduces a batch to numbers in the moment in which it is pulled: a tensor of a loader is never held.

A tensor that came from a worker process keeps a file descriptor open for as long as anybody refers to it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.host_view import host_view
from tb_losslens.record.measures import is_dense

CLASSES = 32
"""Classes of a batch that are counted one by one; the rest is one number."""

_TARGET_KEYS = ("labels", "label", "targets", "target", "y")
_MOST_TARGETS = 1 << 20
_MOST_COUNTED = 1 << 16
_DEPTH = 3


@dataclass(frozen=True)
class Targets:
    """What the targets of a batch are: counts of classes if they are integers, mean and deviation if they are floating.

    Attributes:
        classes: int64, shape (k, 2), pairs (class, count) of the at most 32 largest counts; None if not integers.
        rest: samples of classes beyond these.
        mean: mean of floating targets, else NaN.
        std: their standard deviation, else NaN.
    """

    classes: NDArray[np.int64] | None = None
    rest: int = 0
    mean: float = float("nan")
    std: float = float("nan")

    @property
    def columns(self) -> dict[str, float]:
        """The scalar columns of this."""
        if self.classes is not None:
            return {"class_rest": self.rest}
        return {} if np.isnan(self.mean) else {"target_mean": self.mean, "target_std": self.std}


@dataclass(eq=False)
class Batch:
    """One batch as the training loop got it, without its tensors.

    Attributes:
        size: samples, -1 where unknown.
        ids: dataset indices, int64 of shape (n,), or None.
        targets: what its targets are, by the place where loaders put them.
        wait: seconds that the loop waited for it.
        index: position in its pass.
        source: the pass that delivered it.
        dense: why the signals that cost something are read for it, 0 if they are not; None while nobody decided.
        tensors: weak references, to recognise the batch when a model gets it.
        target: the same, of the tensor that `targets` describes.
        version: how often that tensor had been written to when the loop got it.
    """

    size: int = -1
    ids: NDArray[np.int64] | None = None
    targets: Targets = field(default_factory=Targets)
    wait: float = float("nan")
    index: int = -1
    source: Any = None
    dense: int | None = None
    tensors: tuple[weakref.ref[Tensor], ...] = ()
    target: weakref.ref[Tensor] | None = None
    version: int = 0

    def is_made_of(self, storages: set[int]) -> bool:
        """True if one of these storages (data pointers) belongs to a tensor of this batch that is still alive."""
        for reference in self.tensors:
            tensor = reference()
            if tensor is not None and tensor.untyped_storage().data_ptr() in storages:
                return True
        return False

    def targets_given(self, target: Tensor) -> Targets | None:
        """What the targets of a loss are, where the loop has changed those of the batch on the way; else None.

        None as well where they are of another kind, integer or floating: as one-hot or smoothed labels, and as the targets of
        another task. A copy on a device cannot be read without waiting for it.
        """
        if self.is_made_of(storages_of(target)):
            own = self.target() if self.target is not None else None
            shared = own is not None and own.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
            if not shared or version_of(target) == self.version:
                return None
        integers = not target.is_floating_point() and not target.is_complex()
        if integers != (self.targets.classes is not None) or (not integers and np.isnan(self.targets.mean)):
            return None
        given = describe_targets(target)
        return given if given.classes is not None or not np.isnan(given.mean) else None


def describe(batch: Any, *, targets: bool = True) -> Batch:
    """Size, targets and identity of what a loader delivered: any nesting of tuples, lists, dicts and dataclasses.

    Args:
        batch: what it delivered.
        targets: False leaves its targets unread.
    """
    found = list(tensors_of(batch))
    size = next((int(tensor.size(0)) for tensor in found if tensor.dim()), -1)  # a nested one has no shape
    if size < 0 and isinstance(batch, Sequence) and not isinstance(batch, str):
        size = len(batch[0]) if batch and isinstance(batch[0], Sequence) else len(batch)
    target = target_of(batch)
    return Batch(
        size=size,
        targets=describe_targets(target) if target is not None and targets else Targets(),
        # others have no storage of their own to be recognised by
        tensors=tuple(weakref.ref(tensor) for tensor in found[:8] if tensor.layout is torch.strided),
        target=weakref.ref(target) if target is not None else None,
        version=version_of(target) if target is not None else 0,
    )


def describe_targets(target: Tensor) -> Targets:
    """Class counts of integer targets, or moments of floating ones; empty for one that is not on the CPU or not dense.

    Negative classes (`ignore_index`) do not count. A tensor elsewhere is left alone, since reading it would make the
    device wait.
    """
    if target.device.type != "cpu" or not is_dense(target) or not target.numel() or target.numel() > _MOST_TARGETS:
        return Targets()
    if target.is_floating_point():
        values = target.detach().double()
        return Targets(mean=float(values.mean()), std=float(values.std(correction=0)))
    if target.is_complex():
        return Targets()
    labels = host_view(target).ravel()
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.dtype.itemsize > 2 and labels.size and int(labels.max()) > _MOST_COUNTED:
        names, counts = np.unique(labels[labels >= 0], return_counts=True)
    else:
        try:
            counts = np.bincount(labels)
        except ValueError:  # a negative one
            counts = np.bincount(labels[labels >= 0])
        names = np.flatnonzero(counts)
        counts = counts[names]
    rest = 0
    if len(names) > CLASSES:
        order = np.argsort(-counts, kind="stable")
        rest = int(counts[order[CLASSES:]].sum())
        names, counts = names[order[:CLASSES]], counts[order[:CLASSES]]
    pairs = np.empty((len(names), 2), dtype=np.int64)
    pairs[:, 0], pairs[:, 1] = names, counts
    return Targets(classes=pairs, rest=rest)


def tensors_of(value: Any, depth: int = _DEPTH) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_of(item, depth - 1)
    elif depth and isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_of(item, depth - 1)
    elif depth and is_dataclass(value):
        for part in fields(value):
            yield from tensors_of(getattr(value, part.name, None), depth - 1)


def storages_of(value: Any) -> set[int]:
    """Data pointers of the storages of all tensors in `value`; views and reshapes share theirs."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors_of(value) if tensor.layout is torch.strided}


def version_of(tensor: Tensor) -> int:
    """How often a tensor or a view of it has been written to; 0 for one that does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def target_of(batch: Any) -> Tensor | None:
    """The tensor that is the target, by the place or name that loaders give it; None without one."""
    if isinstance(batch, Mapping):
        found = next((batch[key] for key in _TARGET_KEYS if key in batch), None)
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
        found = batch[1]
    else:
        found = next((getattr(batch, key) for key in _TARGET_KEYS if isinstance(getattr(batch, key, None), Tensor)), None)
    return found if isinstance(found, Tensor) and found.dim() else None
