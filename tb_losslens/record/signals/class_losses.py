"""Answers which classes, and which sample, the loss of a batch is made of."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.batch import CLASSES
from tb_losslens.record.collector import Collector
from tb_losslens.record.host_view import host_view
from tb_losslens.record.row import Row


class ClassLosses(Collector):
    """`class_losses`, `sample_loss_max` and `sample_loss_max_id`, where the losses of single samples are known.

    They are where the criterion returns them (`reduction="none"`) and where the identity of the loss was found, which is asked
    before this; those that `log_batch` is given take the same way from there. Targets are one integer a sample, on the CPU.
    Only the first call of a row with such losses counts.
    """

    deep = True
    name = "losses of the classes"

    def __init__(self) -> None:
        self._seen: weakref.ref[Row] | None = None

    def criterion_called(self, row: Row, given: tuple[Any, ...], loss: Tensor) -> None:  # noqa: ARG002
        """Adds up what the samples of each class lost."""
        losses = row.lists.get("per_sample")
        if not isinstance(losses, np.ndarray) or not len(losses) or (self._seen is not None and self._seen() is row):
            return
        self._seen = weakref.ref(row)  # a later call is for other samples than those of `per_sample`
        self.tell(row, largest_loss(row, losses))
        take_class_losses(row, losses, given[1] if len(given) > 1 else None)


def largest_loss(row: Row, losses: NDArray[np.floating[Any]]) -> dict[str, float]:
    """`sample_loss_max`, and `sample_loss_max_id` where the samples of the row are known; empty without losses."""
    if not len(losses):
        return {}
    worst = int(np.argmax(losses))  # one that is NaN, if there is any
    values = {"sample_loss_max": float(losses[worst])}
    ids = row.ids if row.ids is not None or row.batch is None else row.batch.ids
    if ids is not None and len(ids) == len(losses):
        values["sample_loss_max_id"] = float(ids[worst])
    return values


def take_class_losses(row: Row, losses: NDArray[np.floating[Any]], target: Any) -> None:
    """Puts `class_losses` into the row, where `target` is a class of each sample."""
    if isinstance(target, Tensor) and target.shape == losses.shape and _are_classes(target):
        row.lists["class_losses"] = class_losses(losses, host_view(target)).ravel()


def _are_classes(target: Tensor) -> bool:
    return target.device.type == "cpu" and not target.is_floating_point() and not target.is_complex()


def class_losses(losses: NDArray[np.floating[Any]], labels: NDArray[Any]) -> NDArray[np.float64]:
    """What the samples of each class lost together.

    Args:
        losses: of each sample, shape (n,).
        labels: their classes, integers of shape (n,); negative ones (`ignore_index`) do not count.

    Returns:
        Rows (class, samples, sum of their losses), of the 32 classes with the largest counts; shape (k, 3).
    """
    known = labels >= 0
    names, places, counts = np.unique(labels[known], return_inverse=True, return_counts=True)
    sums = np.bincount(places, losses[known].astype(np.float64), len(names))
    most = np.sort(np.argsort(-counts, kind="stable")[:CLASSES])
    return np.stack((names[most].astype(np.float64), counts[most].astype(np.float64), sums[most]), axis=1)
