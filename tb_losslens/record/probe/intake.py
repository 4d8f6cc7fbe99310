"""What the probe needs from the training: its batches, its loss, and the autocast that both are computed under."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from tb_losslens.record.batch import target_of
from tb_losslens.record.probe.autocast_state import AutocastState, autocast_state
from tb_losslens.record.probe.batch import ProbeBatch, Unfit
from tb_losslens.record.probe.capture import Capture
from tb_losslens.record.probe.evaluation import Loss


class ProbeIntake:
    """Takes the first batch of each kind that the user did not give, and sees how their loss is computed.

    Args:
        given: the user's own batches by name, "train" and "heldout", or None.
        loss_fn: the user's own loss, or None for the watched criterion.
        criteria: gives the watched criteria.
    """

    def __init__(
        self, given: dict[str, ProbeBatch | None], loss_fn: Loss | None, criteria: Callable[[], Iterable[nn.Module]]
    ) -> None:
        self._given = given
        self._loss_fn = loss_fn
        self._criteria = criteria
        # without a batch to take, the call of the criterion still tells what it gets of the output
        self._captures = {name: Capture(compares=loss_fn is None) for name in given}
        self._known: set[str] = set()
        self._autocast: AutocastState | None = None
        self._autocast_of_loss: AutocastState | None = None

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def batches(self) -> dict[str, ProbeBatch]:
        """The batches that are there, by name."""
        return {name: batch for name in self._given if (batch := self._batch(name)) is not None}

    @property
    def loss(self) -> Loss | None:
        """What is called with the output and the target; None before the first call of the criterion told how.

        Raises:
            Unfit: nobody can tell which it is.
        """
        if self._loss_fn is not None:
            return self._loss_fn
        criteria = list(self._criteria())
        if len(criteria) != 1:
            raise Unfit(f"{len(criteria)} criteria are watched: say which loss, set_probe(loss_fn=...)")
        compared = self._captures["train"].compared
        if compared is None:
            return None
        # past the hooks on it: this call is none of the training
        forward = criteria[0].forward
        return lambda output, *rest: forward(compared.of(output), *rest)

    def autocast(self, device: torch.device) -> tuple[AutocastState, AutocastState]:
        """That of the model's calls in training, and that of the loss; as it is now where none was seen."""
        of_model = self._autocast or autocast_state(device)
        return of_model, self._autocast_of_loss or of_model

    def _batch(self, name: str) -> ProbeBatch | None:
        return self._given[name] or self._captures[name].batch

    def _wants(self, name: str) -> bool:
        if name in self._known:
            return False
        compared = name != "train" or self._loss_fn is not None or self._captures[name].compared is not None
        if self._batch(name) is not None and compared:
            self._known.add(name)
        return name not in self._known

    # --- what the training does: each raises Unfit where a batch cannot be taken ------------------------------------

    def delivered(self, name: str, raw: Any) -> None:
        """A loader delivered a batch: its targets count where no criterion is watched whose call would tell them."""
        if self._loss_fn is not None and self._wants(name) and not list(self._criteria()):
            self._captures[name].delivered(target_of(raw))

    def called(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called."""
        if self._wants(name) and self._batch(name) is None:
            self._captures[name].inputs(args, kwargs)

    def returned(self, name: str, output: Any) -> None:
        """It returned."""
        if self._wants(name):
            self._captures[name].output(output)

    def compared(self, name: str, given: tuple[Any, ...]) -> None:
        """The criterion was called."""
        if self._wants(name):
            self._captures[name].criterion(given)

    def remember_autocast(self, device: torch.device, *, of_loss: bool, again: bool) -> None:
        """Sees autocast at a call in training: the first one, and every one that is `again` worth a look."""
        if of_loss and (again or self._autocast_of_loss is None):
            self._autocast_of_loss = autocast_state(device)
        elif not of_loss and (again or self._autocast is None):
            self._autocast = autocast_state(device)
