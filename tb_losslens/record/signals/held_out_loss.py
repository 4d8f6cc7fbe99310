"""Answers what the loss of each held-out batch is, where the training loss is a function that no watched criterion computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tb_losslens.record.batch import target_of
from tb_losslens.record.cadences import training_time
from tb_losslens.record.collector import Collector
from tb_losslens.record.late_list import comes_unasked
from tb_losslens.record.measures import is_dense
from tb_losslens.record.model_output import output_of
from tb_losslens.record.signals.logged_loss import MOST_TARGETS, LoggedLoss, beside
from tb_losslens.record.signals.loss_functions import REDUCTIONS, Settings, losses_by
from tb_losslens.record.signals.loss_identity import MOST_ELEMENTS, pair_of
from tb_losslens.record.thread_clock import thread_time

GRANT = 0.25
"""Seconds that may be spent on this at once."""

SHARE = 0.001
"""Of the time of the run: what may be spent on this beyond."""


class HeldOutLoss(Collector):
    """The mean of the function that `logged` has found, over each batch of a validation; it goes into the validation's record.

    Beside the value that the user logs it says whether that is the mean of the same function. Only what a loader delivered that
    is wrapped as held-out data counts, and only validations in which the model is called once for each of its batches. Beyond
    a quarter of a second, and 0.1 % of the run, no validation is looked at; one that turns out to be dearer is given up.

    Args:
        logged: knows the function.
    """

    name = "loss of held-out batches"

    def __init__(self, logged: LoggedLoss) -> None:
        self._logged = logged
        self._begin = training_time()
        self._spent = self._dearest = self._before = 0.0
        self._on = False
        self._target: Tensor | None = None

    def validation_begins(self, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """Decides whether its losses are computed."""
        self._before = self._spent
        self._on = self._is_known() and self._left() > self._dearest

    def validation_ends(self, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """What it has cost is expected of the next one."""
        self._dearest = max(self._dearest, self._spent - self._before)
        self._target = None

    def heldout_delivered(self, raw: Any) -> None:
        """Copies the targets: after the loop has moved them to a device nothing may be left of them."""
        target = target_of(raw) if self._is_known() and self._left() > 0 else None
        fits = target is not None and is_dense(target) and target.numel() <= MOST_TARGETS
        self._target = target.detach().clone() if fits and target is not None else None

    def heldout_forward_ends(self, output: Any) -> dict[str, Any]:
        """`loss`, a 0-d tensor, and `size` of the batch; nothing where the loss is not known."""
        target, self._target = self._target, None
        if not self._on or target is None:
            return {}
        start = thread_time()
        found = self._loss(output, target)
        self._spent += thread_time() - start
        self._on = found is not None and self._left() > 0
        return {} if found is None else {"loss": found, "size": len(target)}

    def _is_known(self) -> bool:
        function = self._logged.function
        return function is not None and function[1] == "mean"

    def _left(self) -> float:
        return GRANT + SHARE * (training_time() - self._begin) - self._spent

    def _loss(self, output: Any, target: Tensor) -> Tensor | None:
        function, chosen = self._logged.function, output_of(output)
        if function is None or chosen is None or chosen.numel() > MOST_ELEMENTS or not comes_unasked(chosen.device):
            return None
        pair = pair_of((chosen, beside(target, chosen)))
        found = None if pair is None else losses_by((function[0],), *pair, Settings()).get(function[0])
        with torch.no_grad():
            return None if found is None else found.reduced()[REDUCTIONS.index(function[1])]
