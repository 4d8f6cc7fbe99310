"""Kinds of DDP and FSDP on two processes: undisturbed to the bit, and recorded once a batch with the right numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tb_losslens.store.assemble import assemble
from tb_losslens.store.logdir import read_recording
from tests.record.distributed_variants import EPOCHS, KINDS
from tests.record.training import events

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The log directory of all trainings of distributed_variants.py."""
    logdir = tmp_path_factory.mktemp("logs")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = str(ROOT / "tests/record/distributed_variants.py")
    done = subprocess.run(
        [*command, script, str(logdir)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return logdir


@pytest.mark.parametrize("way", ["wrapped", "bare"])
@pytest.mark.parametrize("kind", KINDS)
def test_undisturbed_and_recorded_right(kind, way, logs):
    runs, norms = [], []
    for rank, directory in enumerate((logs / f"{kind}_{way}", logs / f"{kind}_{way}" / "rank1")):
        said = json.loads((logs / f"{kind}{rank}.json").read_text())
        plain = said["plain"]
        assert said[way] == plain
        assert said[f"{way}_off"] == {}
        run = assemble(str(rank), read_recording(directory))
        np.testing.assert_allclose(run.loss, plain["losses"], rtol=1e-6)
        assert (run.float("train_mode") == 1).all()
        every = len(plain["losses"]) // len(plain["norms"])
        backwards = run.float("micro_batches")[every - 1 :: every]
        assert (backwards == every).all()
        assert (run.float("grads_before_backward")[2 * every - 1 :: every] == 0).all()
        names = run.facts["layers"]["names"]
        assert names[0] == "first.weight"
        assert len(names) == 12
        runs.append(run)
        norms.append(run.float("grad_norm")[every - 1 :: every])
    whole = np.hypot(*norms) if kind.startswith("fsdp") else norms[0]  # each process has a part, or all
    np.testing.assert_allclose(whole, plain["norms"], rtol=1e-5)
    if way == "wrapped":
        for run in runs:
            ends, begins = events(run, "epoch_end"), events(run, "epoch_begin")
            assert len(ends) == len(begins) == EPOCHS
            assert ends[0].fields["parameters"] == begins[1].fields["parameters"]
