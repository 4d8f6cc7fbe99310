"""Faults that begin in the middle of an epoch, where no boundary marks them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from demo.gallery.loop import Loop, Truth
from tb_losslens import LossLensWriter

STEP = 300
"""Step before which they begin: inside an epoch of every kind of training."""


class _Inside(Loop):
    broken = False

    def train_batch(self, x: Tensor, y: Tensor, writer: LossLensWriter) -> None:
        if self.step == STEP:
            self.broken = True
            self.break_it()
        super().train_batch(x, y, writer)

    def break_it(self) -> None:
        """What is done before that step, once."""


class DropoutRaisedInside(_Inside):
    """Four of five units are dropped from there on."""

    TRUTH = Truth(("over_regularized/dropout_changed",), may=("planned_change",), step=STEP)
    ON = ("mlp", "sgd")

    def break_it(self) -> None:
        next(module for module in self.model.modules() if isinstance(module, nn.Dropout)).p = 0.8


class LastLayerReset(_Inside):
    """The last layer is drawn anew."""

    TRUTH = Truth(("resume_discontinuity",), step=STEP)
    ON = ("mlp", "sgd", "cnn")

    def break_it(self) -> None:
        [module for module in self.model.modules() if isinstance(module, nn.Linear)][-1].reset_parameters()


class OldWeightsInside(_Inside):
    """The weights are set back to those of the first steps, tensor by tensor."""

    TRUTH = Truth(("resume_discontinuity",), step=STEP)
    ON = ("mlp", "cnn", "lstm")
    old: dict[str, Any]

    def train_batch(self, x: Tensor, y: Tensor, writer: LossLensWriter) -> None:
        if self.step == STEP // 10:
            self.old = copy.deepcopy(self.model.state_dict())
        super().train_batch(x, y, writer)

    def break_it(self) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.old[name])


class ScaledInside(_Inside):
    """A batch is divided by the spread of the data a second time from there on."""

    TRUTH = Truth(("input_shift",), may=("validation_mismatch", "overfitting"), step=STEP)
    ON = ("mlp", "sgd", "regression")

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (0.25 * x if self.broken else x), y


class RelabelledInside(_Inside):
    """The names of the classes change places while an epoch is on: another file is read."""

    TRUTH = Truth(("target_shift",), may=("label_noise", "overfitting"), step=STEP)
    ON = ("mlp", "sgd", "cnn")

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x, y = super().sample(index, x, y)
        return x, ((y + 1) % 4 if self.broken and y < 4 else y)
