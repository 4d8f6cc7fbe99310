import numpy as np
import pytest

from tests.plugin import logs
from tests.tensorboard_process import tensorboard

SMALL = 40


@pytest.fixture(scope="session")
def logdir(tmp_path_factory):
    """Runs of every kind that a reader may meet, side by side."""
    root = tmp_path_factory.mktemp("logdir")
    logs.write_run(root / "big", logs.losses(), logs.LENGTH, scalars=True)
    for seed, name in enumerate(logs.NAMES):
        notes = (f"note of {name}",)
        logs.write_run(root / name, logs.losses(4, SMALL, seed=seed), SMALL, notes=notes)
    logs.write_plain(root / "plain")
    logs.write_run(root / "one batch", logs.losses(1, 1), 1)
    logs.write_run(root / "one epoch", logs.losses(1, 300), 300)
    broken = logs.losses(10, 60)
    broken[125], broken[400:] = np.inf, np.nan
    logs.write_run(root / "nan", broken, 60)
    return root


@pytest.fixture(scope="session", params=[True, False], ids=["load_fast=true", "load_fast=false"])
def server(request, logdir):
    """TensorBoard with default flags on all of them, over each of its two ways to read."""
    with tensorboard(logdir, load_fast=request.param) as running:
        running.wait_for_runs(["big", "nan", "one batch", "one epoch", *logs.NAMES])
        running.wait_until(lambda: running.data("diagnosis", run="big")["batches"] == logs.STEPS)
        running.wait_until(lambda: "plain" in [row["run"] for row in running.data("runs")["runs"]])
        yield running
