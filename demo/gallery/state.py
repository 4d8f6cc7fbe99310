"""Faults of state: mode, weights, optimiser, gradients."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from demo.gallery.loop import Loop, Truth
from tb_losslens import LossLensWriter


class ForgotTrain(Loop):
    """`model.train()` is called once: from the first validation on the model is trained in eval mode."""

    TRUTH = Truth(("wrong_mode/training_in_eval",), may=("memorization", "batchnorm_drift", "overfitting"), epoch=1)
    ON = ("mlp", "cnn", "transformer")

    def begin_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch == 0:
            super().begin_epoch(writer)


class ForgotEval(Loop):
    """The validation runs in training mode."""

    TRUTH = Truth(("wrong_mode/validation_in_train",), may=("memorization",))
    ON = ("mlp", "cnn", "transformer")

    def validate(self, writer: LossLensWriter, loader) -> None:
        held = self.model.eval
        self.model.eval = lambda: self.model  # type: ignore[method-assign]
        try:
            super().validate(writer, loader)
        finally:
            self.model.eval = held  # type: ignore[method-assign]


class AverageLeftIn(Loop):
    """Averaged weights are put in for the validation, and stay."""

    TRUTH = Truth(("weights_swapped",), may=("memorization",))
    ON = ("mlp", "cnn", "regression")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.average = copy.deepcopy(self.model.state_dict())

    def update(self, loss: Tensor) -> None:
        super().update(loss)
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 0.01)

    def validate(self, writer: LossLensWriter, loader) -> None:
        held = self.model.forward
        first = True

        def forward(*args):
            nonlocal first
            if first:
                first = False
                with torch.no_grad():
                    for name, value in self.model.state_dict().items():
                        value.copy_(self.average[name])
            return held(*args)

        self.model.forward = forward  # type: ignore[method-assign]
        super().validate(writer, loader)
        self.model.forward = held  # type: ignore[method-assign]


class OptimizerEachEpoch(Loop):
    """The optimiser is made anew in each epoch."""

    TRUTH = Truth(("optimizer_reset",), may=("memorization",))
    ON = ("mlp", "lstm", "transformer")

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        if self.epoch:
            self.optimizer = self.make_optimizer()


class ResumedWithoutOptimizer(Loop):
    """A second process goes on with the weights, and with an optimiser that knows nothing."""

    TRUTH = Truth(("resume_discontinuity", "optimizer_reset"), may=("memorization", "repeated_order"), epoch=5)
    ON = ("mlp", "transformer")

    def train(self, directory: str) -> None:
        last, self.epochs = self.epochs, 5
        super().train(directory)
        other = type(self)(self.kind, self.seed)
        other.model.load_state_dict(self.model.state_dict())
        other.epoch, other.step, other.epochs = self.epoch, self.step, last
        with LossLensWriter(directory) as writer:
            other.record(writer)


class OldCheckpoint(Loop):
    """After the sixth epoch the weights of the second are loaded."""

    TRUTH = Truth(("resume_discontinuity",), may=("weights_swapped", "memorization"), epoch=6)
    ON = ("mlp", "cnn", "lstm")

    def after_validation(self) -> None:
        if self.epoch == 1:
            self.kept = copy.deepcopy(self.model.state_dict())
        if self.epoch == 5:
            self.model.load_state_dict(self.kept)


class LeftOver(Loop):
    """Gradients of four batches make one update; those that are left at the end of an epoch go into the next one."""

    TRUTH = Truth(("accumulation_remainder",), may=("memorization", "missing_zero_grad"))
    ON = ("mlp", "cnn", "regression")

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        keep = (len(train) // (4 * self.batch_size) - 1) * 4 * self.batch_size + 2 * self.batch_size
        return TensorDataset(*(t[:keep] for t in train.tensors)), held_out

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        self.within = 0

    def update(self, loss: Tensor) -> None:
        (loss / 4).backward()
        self.within += 1
        if self.within % 4 == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()


class NeverCleared(Loop):
    """`zero_grad()` is never called."""

    TRUTH = Truth(("missing_zero_grad",), may=("lr_too_high", "exploding_gradients", "memorization"))
    ON = ("mlp", "lstm", "cnn")

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def update(self, loss: Tensor) -> None:
        loss.backward()
        self.optimizer.step()


class LargeReadout(Loop):
    """The last layer begins sixty times too large."""

    TRUTH = Truth(("bad_init",), may=("lr_too_high", "exploding_gradients", "memorization"), step=0)
    ON = ("mlp", "cnn", "transformer")

    def make_model(self) -> nn.Module:
        model = super().make_model()
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        with torch.no_grad():
            last.weight *= 60
        return model


class DeepSigmoids(Loop):
    """Ten sigmoids in a row: nothing reaches the first layers."""

    TRUTH = Truth(("vanishing_gradients",))
    ON = ("mlp", "sgd")

    def make_model(self) -> nn.Module:
        layers: list[nn.Module] = []
        for i in range(10):
            layers += [nn.Linear(20 if i == 0 else 48, 48), nn.Sigmoid()]
        return nn.Sequential(*layers, nn.Linear(48, 6))


class _Recurrent(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 24)
        self.rnn = nn.RNN(24, 32, batch_first=True, num_layers=1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=gain)
        self.readout = nn.Linear(32, 12)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.rnn(self.embed(torch.cat([x, x], 1)))[0][:, x.shape[1] :]).transpose(1, 2)
        return logits


class LargeRecurrentWeights(Loop):
    """The recurrent weights begin four times as large as they may be."""

    TRUTH = Truth(("exploding_gradients",), may=("lr_too_high", "bad_init"))
    ON = ("lstm",)

    def make_model(self) -> nn.Module:
        return _Recurrent(4.0)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=0.1)


class SoftmaxTwice(Loop):
    """The network ends in a softmax, and the criterion applies another one."""

    TRUTH = Truth(("loss_misuse",), may=("memorization", "vanishing_gradients"))
    ON = ("mlp", "cnn")

    def make_model(self) -> nn.Module:
        return nn.Sequential(super().make_model(), nn.Softmax(dim=1))
