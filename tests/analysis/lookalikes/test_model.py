"""Modes, statistics of BatchNorm, and what else makes a validation spike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tb_losslens import Diagnosis, LossLensWriter, diagnose
from tb_losslens.analysis.finding import Finding
from tests.analysis.causes.test_batchnorm_drift import once, set_back, trained
from tests.analysis.lookalikes.training import Training, causes, checked, said_of


class Probed(Training):
    """A network with BatchNorm and a probe of two fixed batches."""

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))

    def begin(self, writer: LossLensWriter) -> None:
        super().begin(writer)
        writer.set_probe(train_batch=(self.x[:256], self.y[:256]), heldout_batch=(self.held_x[:256], self.held_y[:256]))


class OtherPreprocessing(Probed):
    """One validation is prepared in another way."""

    def held_out(self) -> tuple[Tensor, Tensor]:
        return (4 * self.held_x + 2 if self.epoch == 4 else self.held_x), self.held_y


class FarTooHighLr(Probed):
    """In one epoch the LR is a hundred times as high."""

    def before_epoch(self, writer: LossLensWriter) -> None:
        self.optimizer.param_groups[0]["lr"] = self.lr * (100 if self.epoch == 4 else 1)


def spike(said: Diagnosis) -> Finding:
    return next(finding for finding in said.findings if finding.cause == "validation_spike")


def test_a_validation_that_spikes_with_the_buffers_of_batchnorm(tmp_path: Path) -> None:
    """Look-alike 7: the same held-out batch is bad in evaluation mode only."""
    said = diagnose(trained(tmp_path, once(set_back, 4)))
    best = next(finding for finding in said.findings if finding.kind == "fault")
    assert (best.cause, best.strength) == ("batchnorm_drift", "proved")
    assert "by experiment" in best.evidence[0]
    assert "`batchnorm_drift`" in spike(said).text


def test_a_validation_that_spikes_with_its_preprocessing(tmp_path: Path) -> None:
    """Look-alike 7: the probe is fine in both modes, and the inputs of that validation are others."""
    said = said_of(tmp_path, OtherPreprocessing())
    best = said.findings[0]
    assert (best.cause, best.detail, best.kind) == ("validation_mismatch", "one_validation", "fault")
    assert best.steps == (249,)
    assert "evaluation mode costs the same held-out batch up to" in checked(said, "batchnorm_drift")
    assert "`validation_mismatch`" in spike(said).text


def test_a_validation_that_spikes_with_the_lr(tmp_path: Path) -> None:
    """Look-alike 7: the probe is bad in both modes, which leaves BatchNorm out."""
    said = said_of(tmp_path, FarTooHighLr())
    best = said.findings[0]
    assert (best.cause, best.boundaries, best.explains_jump) == ("lr_increase", (3,), True)
    assert "batchnorm_drift" not in causes(said)
    assert "`lr_increase`" in spike(said).text


class StaysInEval(Training):
    """From the fifth epoch on nobody puts the model back into training mode."""

    dropout = 0.5

    def before_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch >= 4:
            self.model.eval()


class FrozenStatistics(StaysInEval):
    """The same with BatchNorm, whose statistics still lag behind inputs that are small and not centred."""

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64, momentum=0.001), nn.ReLU(), nn.Linear(64, 10))

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return 0.2 * x + 1, y

    def held_out(self) -> tuple[Tensor, Tensor]:
        return 0.2 * self.held_x + 1, self.held_y


@pytest.mark.parametrize(("training", "sign"), [(StaysInEval, -1), (FrozenStatistics, 1)])
def test_a_wrong_mode_has_no_sign_of_its_own(tmp_path: Path, training: type[Training], sign: int) -> None:
    """Look-alike 12: without dropout the loss is lower, with frozen statistics of BatchNorm it is higher."""
    said = said_of(tmp_path, training())
    best = said.findings[0]
    assert (best.cause, best.detail, best.strength) == ("wrong_mode", "training_in_eval", "proved")
    assert (best.boundaries, best.explains_jump) == ((3,), True)
    assert torch.tensor(said.boundaries[3].jump).sign() == sign
    assert not any(finding.detail == "updated_outside" for finding in said.findings)
