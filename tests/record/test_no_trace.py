"""A training is bit for bit the one without us: in all that it keeps, at each of its moments, while every collector records."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from tb_losslens.record import cadence
from tb_losslens.record.lane_rows import LaneRows
from tests.record.no_trace import same, train
from tests.record.training import events

EPOCHS, BATCHES = 3, 16

CHOICES = {
    "model": ("mlp", "cnn", "lstm", "transformer"),
    "optimizer": ("sgd", "adam", "adamw"),
    "precision": ("float32", "bfloat16", "scaled"),
    "workers": ("none", "two", "persistent"),
    "log": ("criterion", "scalar", "log_batch"),
    "accumulate": (1, 3),
    "compiled": ("no", "inner", "outer"),
    "sampler": ("shuffle", "distributed"),
    "rows": ("sparse", "dense"),
    "probe": (False, True),
}

COMBINATIONS = [
    ("transformer", "sgd", "scaled", "persistent", "log_batch", 3, "outer", "distributed", "dense", False),
    ("lstm", "adamw", "bfloat16", "two", "scalar", 1, "no", "distributed", "sparse", True),
    ("cnn", "adam", "float32", "none", "criterion", 3, "inner", "shuffle", "sparse", False),
    ("mlp", "sgd", "float32", "persistent", "scalar", 1, "inner", "shuffle", "dense", True),
    ("mlp", "adam", "scaled", "two", "log_batch", 1, "outer", "shuffle", "sparse", True),
    ("mlp", "adamw", "bfloat16", "none", "criterion", 3, "no", "distributed", "dense", False),
    ("transformer", "sgd", "scaled", "none", "criterion", 1, "no", "shuffle", "sparse", True),
    ("lstm", "adam", "scaled", "two", "scalar", 3, "inner", "distributed", "dense", False),
    ("cnn", "adamw", "float32", "persistent", "log_batch", 3, "no", "distributed", "dense", True),
    ("lstm", "adam", "bfloat16", "persistent", "criterion", 1, "outer", "shuffle", "sparse", False),
    ("cnn", "adamw", "scaled", "none", "scalar", 1, "outer", "shuffle", "sparse", False),
    ("transformer", "adamw", "bfloat16", "two", "log_batch", 1, "inner", "distributed", "sparse", False),
    ("cnn", "sgd", "bfloat16", "two", "criterion", 3, "no", "shuffle", "sparse", True),
    ("lstm", "sgd", "float32", "none", "log_batch", 3, "outer", "distributed", "dense", True),
    ("transformer", "adam", "float32", "two", "scalar", 3, "no", "distributed", "sparse", False),
]

LOGGED = [row for row in COMBINATIONS if "criterion" not in row and not row[-1]]  # the probe needs the criterion, or a function

EACH_ROW = ["loss", "epoch", "index", "batch_size", "data_wait", "time", "step", "dense", "cadence"]
SOME_ROWS = [
    "lr",
    "train_mode",
    "grad_norm",
    "grad_norm_at_step",
    "input_mean",
    "input_std",
    "input_nonfinite",
    "micro_batches",
    "grads_before_backward",
    "update_ratio",
    "weight_norm",
    "moment1_norm",
    "input_relation",
    "sample_level_max",
    "loss_identity",
]
LISTS = ["sample_ids", "classes", "input_sketch", "layer_grad_norm", "layer_update_ratio"]
BEGIN_FIELDS = ["parameters", "rng", "config"]
END_FIELDS = ["parameters", "rng", "rng_used", "order_hash", "set_hash"]
SOME_ENDS = ["targets_compared", "inputs_compared"]  # of samples that came back


def test_every_pair_of_choices_is_there():
    rows = [dict(zip(CHOICES, row, strict=True)) for row in COMBINATIONS]
    for one, other in itertools.combinations(CHOICES, 2):
        assert {(row[one], row[other]) for row in rows} == set(itertools.product(CHOICES[one], CHOICES[other]))


@pytest.fixture
def short_way(monkeypatch):
    """The loss of each row that went the short way."""
    rows = []
    kept = LaneRows._tell

    def counted(lane_rows, losses, steps, ids):
        kept(lane_rows, losses, steps, ids)
        rows.extend(losses)

    monkeypatch.setattr(LaneRows, "_tell", counted)
    return rows


def grant(monkeypatch, rows):
    """Rows are dense until so many seconds were spent on them, and never after that, however long a step takes."""
    seconds = {"sparse": 0.004, "dense": 1000.0}[rows]
    if rows == "sparse":
        monkeypatch.setattr(cadence, "SHARE", 1e-9)
        monkeypatch.setattr(cadence, "MOST", 1e-9)
    monkeypatch.setattr(cadence, "GRANT", seconds)
    monkeypatch.setattr(cadence, "DEEP_GRANT", seconds)


def count_graphs(one, compiled, **how):
    """The result of the training, and how many graphs were compiled in it."""
    if compiled == "no":
        return train(one, **how), 0
    torch._dynamo.reset()
    made = []

    def backend(graph, examples):
        made.append(graph)
        return graph.forward

    result = train(one, compiled={"backend": backend}, watched=compiled, **how)
    assert made or how["model"] == "lstm"  # a recurrent network is left as it is
    return result, len(made)


def check(run, how):
    """Each collector has said something."""
    assert len(run) == EPOCHS * BATCHES
    assert run.facts["loss_source"] is not None
    for name in EACH_ROW:
        assert np.isfinite(run.float(name)).all(), name
    some = [*SOME_ROWS, *(["bn_updates"] if how["model"] == "cnn" else [])]
    some += ["opt_step", "moment2_norm"] if how["optimizer"] != "sgd" else []
    some += ["logged_loss"] if how["log"] == "scalar" and how.get("criterion_watched", True) else []
    some += ["answer"] if how["log"] == "log_batch" else []
    some += ["amp_scale", "amp_skipped"] if how["precision"] == "scaled" else []
    # the slope along the update needs two deep rows that follow each other
    some += ["curvature", "grad_dot_update", "prev_grad_dot_update"] if how["rows"] == "dense" else []
    missing = [name for name in some if name not in run.columns or not np.isfinite(run.float(name)).any()]
    lists = [*LISTS, *(["bn_mean_gap", "bn_log_var_ratio"] if how["model"] == "cnn" else [])]
    missing += [name for name in lists if not run.has(name)]
    begins, ends = events(run, "epoch_begin"), events(run, "epoch_end")
    assert [len(begins), len(ends), len(events(run, "validation_end"))] == [EPOCHS] * 3
    for wanted, found in ((BEGIN_FIELDS, begins), (END_FIELDS, ends)):
        missing += [name for name in wanted for event in found if event.fields.get(name) is None]
    missing += [name for name in SOME_ENDS if not any(name in event.fields for event in ends)]
    assert not missing
    looked = {event.fields["when"] for event in events(run, "probe")}
    assert looked == ({"t0", "before_validation", "after_validation", "t1", "u1", "u2", "u5"} if how["probe"] else set())


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda row: "-".join(map(str, row)))
def test_bit_identical(combination, recorded, monkeypatch, short_way):
    how = dict(zip(CHOICES, combination, strict=True))
    options = {name: value for name, value in how.items() if name != "rows"}
    grant(monkeypatch, how["rows"])
    one = recorded()
    assert same(count_graphs(None, **options), count_graphs(one, **options))
    run = one.run()
    check(run, how)
    dense = run.float("dense")
    if how["rows"] == "dense":
        assert (dense > 0).all()
        assert not short_way
        return
    assert (dense == 0).any()
    if how["accumulate"] == 1 and how["log"] != "log_batch":
        assert len(short_way) > 5


@pytest.mark.parametrize("combination", LOGGED, ids=lambda row: "-".join(map(str, row)))
def test_bit_identical_where_the_loss_is_only_logged(combination, recorded, monkeypatch, short_way):
    """Its function is found from what the model returned and the loader delivered, or `log_batch` was given."""
    how = dict(zip(CHOICES, combination, strict=True)) | {"criterion_watched": False}
    options = {name: value for name, value in how.items() if name != "rows"}
    grant(monkeypatch, how["rows"])
    one = recorded()
    assert same(count_graphs(None, **options), count_graphs(one, **options))
    run = one.run()
    check(run, how)
    assert run.has("per_sample")
    assert run.has("class_losses")
    assert any("computed" in validation.fields for validation in run.validations)
    known = run.float("loss_identity")
    assert set(known[np.isfinite(known)]) == {0.0}
    if how["rows"] == "sparse" and how["accumulate"] == 1 and how["log"] == "scalar":
        assert len(short_way) > 5


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")
def test_bit_identical_with_the_default_compiler(recorded, monkeypatch, short_way):
    grant(monkeypatch, "sparse")
    one, found = recorded(), []
    for writer in (None, one):
        torch._dynamo.reset()
        counters.clear()
        how = {"model": "mlp", "optimizer": "adam", "compiled": {}, "watched": "outer"}
        found.append((train(writer, **how), counters["stats"]["unique_graphs"]))
    assert same(*found)
    assert found[0][1] > 0
    check(one.run(), {"model": "mlp", "optimizer": "adam", "log": "criterion", "precision": "", "rows": "", "probe": False})
    assert len(short_way) > 5
