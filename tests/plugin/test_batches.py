import json

import numpy as np
import pytest

from tb_losslens.plugin import batches
from tb_losslens.store.run import Run
from tb_losslens.strict_json import dumps


@pytest.mark.parametrize("unknown", [np.nan, -1])
def test_an_epoch_that_is_not_known_is_null(unknown):
    rng = np.random.default_rng(0)
    epoch = np.repeat([0, 1, 2, unknown], 25)
    index = np.tile(np.arange(25), 4)
    run = Run("r", {"loss": rng.normal(2, 0.1, 100), "epoch": epoch, "index": index, "step": np.arange(100)})
    assert [batches.one(run, batch)["epoch"] for batch in (30, 80)] == [1, None]
    assert batches.one(run, 80)["index"] == 5
    body = json.loads(dumps(batches.build(run)))
    columns = dict(zip(body["names"], body["columns"], strict=True))
    assert [None if row >= 75 else row // 25 for row in columns["batch"]] == columns["epoch"]
    bare = batches.one(Run.from_arrays(loss=np.ones(5)), 2)
    assert (bare["epoch"], bare["index"]) == (None, None)


def test_batches_without_a_finite_loss_are_listed_as_such():
    body = json.loads(dumps(batches.build(Run.from_arrays(loss=np.full(100, np.nan), epoch_length=20))))
    assert (body["nonfinite"], body["count"]) == (list(range(100)), 100)
    grad = np.ones(100)
    grad[7] = np.inf
    body = json.loads(dumps(batches.build(Run.from_arrays(loss=np.ones(100), grad_norm=grad))))
    assert (body["nonfinite"], body["count"], 7 in body["columns"][0]) == ([], 1, True)
