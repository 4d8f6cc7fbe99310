"""A log directory with a real training and with names that mean harm, and TensorBoard on it."""

from __future__ import annotations

import numpy as np
import pytest

from demo.causes import cosine_restarts
from tests.e2e.browser import in_ci, missing, shared_browser
from tests.plugin import logs
from tests.tensorboard_process import tensorboard

TRAINED = "cosine_restarts"
BARE = "bare"
GAP, SILENT, HUGE, ONE_SIDE = "gap", "silent", "huge", "one side"
NO_EPOCHS = "no epochs"
SWEEP = ["sweep 16", "sweep 64", "sweep 256"]
LONG = "long " + "x" * 195


@pytest.fixture(scope="session", autouse=True)
def browser():
    """One browser for all of them. Skips where there is none; where CI is set that is a failure."""
    reason = missing()
    if reason and in_ci():
        pytest.fail(f"tests in the browser cannot run: {reason}")
    if reason:
        pytest.skip(reason)
    with shared_browser():
        yield


@pytest.fixture(scope="session")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("logdir")
    cosine_restarts.train(str(root / TRAINED), TRAINED)
    logs.write_run(root / "big", logs.losses(), logs.LENGTH, scalars=True)
    hostile = ('<img src=x onerror="window.top.pwned=1">', "<script>window.top.pwned=1</script>")
    for seed, name in enumerate([*logs.NAMES, LONG]):
        logs.write_run(root / name, logs.losses(4, 40, seed=seed), 40, notes=hostile)
    broken = logs.losses(10, 60)
    broken[125], broken[400:] = np.inf, np.nan
    logs.write_run(root / "nan", broken, 60)
    logs.write_gap(root / GAP)
    logs.write_run(root / SILENT, np.full(200, np.nan), 50)
    diverged = logs.losses(4, 50)
    diverged[150:] *= np.logspace(0, 16, 50, dtype=np.float32)
    diverged[150:] += 11
    logs.write_run(root / HUGE, diverged, 50, notes=("first note", "the second note"))
    logs.write_run(root / "one batch", logs.losses(1, 1), 1)
    logs.write_one_side(root / ONE_SIDE)
    logs.write_bare(root / BARE, logs.losses(3, 50), 50)
    logs.write_no_epochs(root / NO_EPOCHS, logs.losses(1, 120))
    assert logs.write_sweep(root, (16, 64, 256)) == SWEEP
    logs.write_plain(root / "plain")
    return root


@pytest.fixture(scope="session")
def base(logdir):
    """Address of a TensorBoard with default flags that has read and judged every run."""
    with tensorboard(logdir) as server:
        names = [TRAINED, BARE, "big", "nan", GAP, SILENT, HUGE, ONE_SIDE, NO_EPOCHS, *SWEEP, "one batch", LONG, *logs.NAMES]
        server.wait_for_runs(names)
        server.wait_until(lambda: "plain" in [row["run"] for row in server.data("runs")["runs"]])
        yield server.base
