"""Reads a run's ordinary scalars, as TensorBoard kept them, and finds the batch that each point belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tensorboard import errors
from tensorboard.data import provider

from tb_losslens.plugin.params import shown
from tb_losslens.store.run import Run

_PLUGIN = "scalars"
_MAX_POINTS = 4000


class Points(NamedTuple):
    """Points of one tag, in order; three arrays of equal length."""

    step: NDArray[np.int64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]


class Scalars:
    """Scalars of one experiment through TensorBoard's own data provider.

    Args:
        data_provider: `context.data_provider`.
        ctx: request context that every call is made with.
        experiment: experiment id, "" on a local TensorBoard.
    """

    def __init__(self, data_provider: Any, ctx: Any, experiment: str) -> None:
        self._provider = data_provider
        self._where = {"ctx": ctx, "experiment_id": experiment, "plugin_name": _PLUGIN}

    def tags(self) -> Mapping[str, list[str]]:
        """The sorted tags of each run that has any."""
        listed = self._provider.list_scalars(**self._where)
        return {run: sorted(tags) for run, tags in listed.items() if tags}

    def points(self, run: str, tag: str) -> Points:
        """All points that TensorBoard kept of one tag (1,000 by default).

        Raises:
            NotFoundError: if the run has no such tag.
        """
        chosen = provider.RunTagFilter(runs=[run], tags=[tag])
        read = self._provider.read_scalars(**self._where, downsample=_MAX_POINTS, run_tag_filter=chosen)
        points = read.get(run, {}).get(tag)
        if points is None:
            raise errors.NotFoundError(f"the run {shown(run)} has no scalar {shown(tag)}")
        return Points(
            np.array([point.step for point in points], dtype=np.int64),
            np.array([point.wall_time for point in points], dtype=np.float64),
            np.array([point.value for point in points], dtype=np.float64),
        )


def rows_of(run: Run, points: Points) -> NDArray[np.int64]:
    """Row of the run that each point belongs to, 0..len(run) - 1; empty if the run is.

    The step is looked up among the run's own. A tag that counts epochs (`add_scalar("val", value, epoch)`) would all
    fall on the first batches: where no step passes the number of epochs, the time of writing decides, else the
    end of the epoch.
    """
    n = len(run)
    if not n or not len(points.step):
        return np.empty(0, dtype=np.int64)
    epochs = run.epochs
    if len(epochs) > 1 and points.step[-1] <= len(epochs) < n // 2 and len(points.step) <= len(epochs) + 1:
        return _rows_of_epochs(run, points)
    order = np.argsort(run.step, kind="stable")
    found = np.searchsorted(run.step[order], points.step)
    return order[np.minimum(found, n - 1)].astype(np.int64)


def _rows_of_epochs(run: Run, points: Points) -> NDArray[np.int64]:
    time = run.float("time")
    if np.isfinite(time).all() and (np.diff(time) >= 0).all():
        return np.clip(np.searchsorted(time, points.time, side="right") - 1, 0, len(run) - 1).astype(np.int64)
    ends = np.array([epoch.last - 1 for epoch in run.epochs], dtype=np.int64)
    counted_from = int(points.step[0] > 0)
    return ends[np.clip(points.step - counted_from, 0, len(ends) - 1)]
