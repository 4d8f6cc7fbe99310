"""A `LossLensWriter` is a `SummaryWriter`: TensorBoard reads the same from both."""

import math
from urllib.parse import quote

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from tb_losslens.record.writer import LossLensWriter
from tests.record.training import events, loader, two_classes


def everything(writer):
    for step in range(30):
        writer.add_scalar("Loss/train", 1.0 / (step + 1), step)
        writer.add_scalar("acc", torch.tensor(step / 30), step, walltime=1000.0 + step)
        writer.add_scalar("new", np.float64(step), step, new_style=True, double_precision=True)
    writer.add_scalar("no_step", 3.0)
    writer.add_scalar(tag="named", scalar_value=4.0, global_step=7)
    writer.add_histogram("weights", torch.linspace(-1, 1, 50), 3)
    writer.add_image("image", torch.zeros(3, 4, 4), 1)
    writer.add_text("text", "hello", 2)
    writer.add_scalars("many", {"a": 1.0, "b": 2.0}, 4)
    writer.add_hparams({"lr": 0.1}, {"hparam/loss": 0.5}, run_name="trial")


def read(logdir):
    accumulator = EventAccumulator(str(logdir), {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def contents(logdir):
    found = {}
    for directory in sorted(path for path in (logdir, *logdir.rglob("*")) if path.is_dir()):
        accumulator = read(directory)
        tags = accumulator.Tags()
        scalars = {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags["scalars"]}
        tensors = [tag for tag in tags["tensors"] if not tag.startswith("losslens")]
        values = {tag: [(e.step, e.tensor_proto.SerializeToString()) for e in accumulator.Tensors(tag)] for tag in tensors}
        images = {tag: [e.step for e in accumulator.Images(tag)] for tag in tags["images"]}
        histograms = {tag: [(e.step, e.histogram_value) for e in accumulator.Histograms(tag)] for tag in tags["histograms"]}
        hparams = {key: value for key, value in accumulator.summary_metadata.items() if key.startswith("_hparams_")}
        found[directory.relative_to(logdir).as_posix()] = (scalars, values, images, histograms, sorted(hparams))
    return found


def test_tensorboard_reads_the_same(tmp_path):
    for name, kind in (("theirs", SummaryWriter), ("ours", LossLensWriter)):
        with kind(str(tmp_path / name), filename_suffix=".x") as writer:
            assert isinstance(writer, SummaryWriter)
            everything(writer)
    theirs, ours = contents(tmp_path / "theirs"), contents(tmp_path / "ours")
    assert ours == theirs
    assert set(ours) == {".", "many_a", "many_b", "trial"}
    files = [path for path in (tmp_path / "ours").iterdir() if path.is_file()]
    assert [path.name.endswith(".x") for path in files] == [True]


def test_purge_step(tmp_path):
    for kind in (SummaryWriter, LossLensWriter):
        logdir = tmp_path / kind.__name__
        for start, value in ((0, 1.0), (5, 2.0)):
            with kind(str(logdir), purge_step=start or None) as writer:
                for step in range(start, start + 8):
                    writer.add_scalar("x", value, step)
    points = [
        [(e.step, e.value) for e in read(tmp_path / kind.__name__).Scalars("x")] for kind in (SummaryWriter, LossLensWriter)
    ]
    assert points[0] == points[1]


def test_rows_begin_at_the_purged_step(recorded):
    one = recorded(purge_step=500)
    for _ in range(3):
        one.writer.log_batch(1.0)
    assert one.run().step.tolist() == [500, 501, 502]


def test_the_default_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with LossLensWriter(comment="_mine") as writer:
        assert writer.log_dir.startswith("runs/")
        assert writer.get_logdir().endswith("_mine")
        writer.log_batch(1.0)
    assert len(list((tmp_path / writer.log_dir).iterdir())) == 1


def test_adding_after_close_and_closing_twice(tmp_path):
    writer = LossLensWriter(str(tmp_path))
    writer.log_batch(1.0)
    writer.close()
    writer.close()
    writer.log_batch(2.0)
    writer.note("late")
    writer.start_epoch(3)
    writer.watch(nn.Linear(1, 1))
    with writer.validation():
        pass
    assert len(list(writer.wrap(loader(two_classes())))) == 6
    writer.add_scalar("x", 1.0, 0)  # torch opens a new file for it
    writer.close()
    assert [e.value for e in read(tmp_path).Scalars("x")] == [1.0]
    from tb_losslens.store.logdir import load_runs

    assert load_runs(tmp_path)["."].loss.tolist() == [1.0]


def test_flush_makes_it_readable(recorded):
    from tb_losslens.store.logdir import read_recording

    one = recorded()
    for step in range(5):
        one.writer.log_batch(float(step))
    one.writer.add_scalar("x", 1.0, 0)
    one.writer.flush()
    assert sum(chunk.count for chunk in read_recording(one.logdir / "run").chunks) == 5
    assert [e.value for e in read(one.logdir / "run").Scalars("x")] == [1.0]


def test_boundary_jump_is_an_ordinary_scalar(recorded):
    one = recorded()
    losses = np.random.default_rng(0).normal(2, 0.1, (4, 100)) + np.arange(4)[:, None]
    for epoch in range(4):
        one.writer.start_epoch(epoch)
        for loss in losses[epoch]:
            one.writer.log_batch(loss)
    one.run()
    points = read(one.logdir / "run").Scalars("losslens/boundary_jump")
    assert [point.step for point in points] == [100, 200, 300]
    truth = [losses[k + 1, :5].mean() - losses[k, -5:].mean() for k in range(3)]
    np.testing.assert_allclose([point.value for point in points], truth, rtol=1e-6)


def test_a_jump_over_a_loss_that_is_not_finite_is_left_out(recorded):
    one = recorded()
    for epoch in range(3):
        one.writer.start_epoch(epoch)
        for position in range(20):
            one.writer.log_batch(math.nan if epoch == 1 and position == 18 else 1.0)
    one.run()
    assert [point.step for point in read(one.logdir / "run").Scalars("losslens/boundary_jump")] == [20]


def test_the_text_summary_has_facts_and_a_link(tmp_path):
    name = "exp 1/späß&=\"<b>'"
    with LossLensWriter(str(tmp_path / "runs"), run=name) as writer:
        writer.watch(nn.Linear(3, 2), config={"note": "a|b\n<script>alert(1)</script>"})
        for _ in writer.wrap(loader(two_classes())):
            writer.log_batch(1.0)
    (event,) = read(tmp_path / "runs").Tensors("losslens/summary/text_summary")
    (text,) = event.tensor_proto.string_val
    markdown = text.decode()
    assert f"(#losslens&p.losslens.run={quote(name, safe='')})" in markdown
    assert "Linear" in markdown
    assert "| dataset_size | 120 |" in markdown
    assert "<script>" not in markdown
    assert "a\\|b" in markdown


@pytest.mark.parametrize(
    ("log_dir", "expected"),
    [
        ("runs/exp1", "exp1"),
        ("runs/a/b", "a/b"),
        ("demo/runs/x", "x"),
        ("/home/me/logs/a/b", "a/b"),
        ("runs", "."),
        ("experiments", "."),
        ("experiments/x/y", "x/y"),
        ("./out/x", "x"),
        ("/abs/here/exp", "exp"),
        ("../up/x", "x"),
    ],
)
def test_the_name_of_the_run(log_dir, expected):
    from tb_losslens.record.summary import run_name

    assert run_name(log_dir) == expected


def test_notes(recorded):
    one = recorded()
    one.writer.log_batch(1.0, step=10)
    one.writer.note("weights to <b>disk</b> 'x' \"y\" ü", kind="save", path="a/b.pt", when=None)
    one.writer.log_batch(1.0, step=11)
    one.writer.note("hello")
    run = one.run()
    (save,) = events(run, "save")
    assert (save.batch, save.step, save.text) == (1, 10, "weights to <b>disk</b> 'x' \"y\" ü")
    assert dict(save.fields) == {"path": "a/b.pt", "when": None}
    assert [(event.batch, event.text) for event in events(run, "note")] == [(2, "hello")]


def sgd():
    return torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)


REFUSED = [
    (lambda w: w.log_batch(None), TypeError, r"log_batch\(loss\) expects a number, got NoneType"),
    (lambda w: w.log_batch("0.5"), TypeError, "expects a number, got str"),
    (lambda w: w.log_batch(torch.ones(3)), ValueError, r"shape \(3,\).*per_sample"),
    (lambda w: w.log_batch(1.0, step="a"), TypeError, r"log_batch\(step=...\) expects an integer, got 'a'"),
    (lambda w: w.log_batch(1.0, step=1.5), TypeError, "expects an integer, got 1.5"),
    (lambda w: w.log_batch(1.0, epoch=math.nan), TypeError, "expects an integer, got nan"),
    (lambda w: w.log_batch(1.0, time=3.0), ValueError, "'time' is a column that the writer fills itself"),
    (lambda w: w.log_batch(1.0, **{"a b": 3.0}), ValueError, "'a b'.*choose another name"),
    (lambda w: w.log_batch(1.0, mine=[1, 2]), TypeError, r"log_batch\(mine=...\) expects a number.*got list"),
    (lambda w: w.log_batch(1.0, sample_ids=["a"]), TypeError, r"sample_ids=...\) expects a flat sequence of integers"),
    (lambda w: w.log_batch(1.0, sample_ids=[[1], [2]]), TypeError, "flat sequence of integers"),
    (lambda w: w.log_batch(1.0, per_sample=torch.ones(2, 2)), ValueError, "one loss a sample"),
    (lambda w: w.log_batch(1.0, inputs="x"), TypeError, r"inputs=...\) expects a tensor"),
    (lambda w: w.log_batch(1.0, source=[1]), TypeError, r"source=...\) expects a number or a name"),
    (lambda w: w.log_batch(1.0, hidden="h"), TypeError, r"hidden=...\) expects"),
    (lambda w: w.log_validation(None), TypeError, r"log_validation\(value\) expects a number"),
    (lambda w: w.log_validation(1.0, batch_sizes=[1]), ValueError, "expects batch_losses as well"),
    (lambda w: w.log_validation(1.0, batch_losses=[1, 2], batch_sizes=[1]), ValueError, "as many batch_sizes"),
    (lambda w: w.log_validation(1.0, batch_losses=3), TypeError, "sequence of numbers, got int"),
    (lambda w: w.start_epoch(None), TypeError, r"start_epoch\(epoch\) expects an integer, got None"),
    (lambda w: w.note(3), TypeError, "expects a text, got int"),
    (lambda w: w.note("x", kind="epoch_end"), ValueError, "'note', 'config_change', 'save', 'restore', got 'epoch_end'"),
    (lambda w: LossLensWriter(loss_tag=3), TypeError, "loss_tag expects the tag"),
    (lambda w: LossLensWriter(run=3), TypeError, "run expects the name .* got int"),
    (lambda w: w.log_batch(True), TypeError, r"log_batch\(loss\) expects a number, got bool"),
    (lambda w: w.log_batch(np.array([True])), TypeError, "expects a number, got ndarray"),
    (lambda w: w.log_batch(torch.tensor(True)), TypeError, "got a tensor of torch.bool"),
    (lambda w: w.log_batch(torch.tensor(1j)), TypeError, "got a tensor of torch.complex64"),
    (lambda w: w.log_batch(1.0, step=-5), ValueError, r"step=...\) expects 0 or more, got -5: leave it out"),
    (lambda w: w.log_batch(1.0, epoch=-1), ValueError, r"epoch=...\) expects 0 or more, got -1"),
    (lambda w: w.log_batch(1.0, batch_size=-1), ValueError, r"batch_size=...\) expects 0 or more, got -1"),
    (lambda w: w.log_batch(1.0, step=np.True_), TypeError, "expects an integer, got .*True"),
    (lambda w: w.log_batch(1.0, source=True), TypeError, "expects a number or a name, got bool"),
    (lambda w: w.log_batch(1.0, sample_ids=[1, 2], per_sample=[0.5]), ValueError, "each of sample_ids, got 1 and 2"),
    (lambda w: w.log_validation(False), TypeError, r"log_validation\(value\) expects a number, got bool"),
    (lambda w: w.log_validation(1.0, step=-2), ValueError, r"step=...\) expects 0 or more, got -2"),
    (lambda w: w.log_validation(1.0, epoch=-2), ValueError, r"epoch=...\) expects 0 or more, got -2"),
    (lambda w: w.log_validation(1.0, batch_losses={1: 2}), TypeError, "sequence of numbers, got dict"),
    (lambda w: w.log_validation(1.0, batch_losses=[1], batch_sizes=[-4]), ValueError, "sizes of 0 or more, got -4"),
    (lambda w: w.start_epoch(-3), ValueError, r"start_epoch\(epoch\) expects 0 or more, got -3"),
    (lambda w: w.watch(nn.Linear), TypeError, r"watch\(model\) expects a torch.nn.Module"),
    (lambda w: w.watch(criterion=nn.MSELoss), TypeError, r"got its class: pass MSELoss\(\)"),
    (lambda w: w.watch(scheduler=sgd()), TypeError, r"watch\(scheduler=...\) expects a scheduler .* got SGD"),
    (lambda w: w.watch(nn.Linear(1, 1), sgd().param_groups), TypeError, r"watch\(optimizer\) expects .* got dict"),
    (lambda w: w.watch(scaler=1024.0), TypeError, r"watch\(scaler=...\) expects .* got float"),
    (lambda w: w.watch(config="a.yaml"), TypeError, r"watch\(config=...\) expects a dict of settings, got str"),
    (lambda w: w.wrap("train"), TypeError, "expects something that gives batches, .* got 'train'"),
    (lambda w: w.wrap(two_classes()), TypeError, "DataLoader, got TensorDataset"),
    (lambda w: w.wrap([], "validation"), ValueError, r"wrap\(split=...\) expects 'train' or 'val', got 'validation'"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[sentence[:40] for _, _, sentence in REFUSED])
def test_bad_arguments_raise_in_the_call_itself_and_nothing_is_lost(call, error, sentence, recorded):
    one = recorded()
    one.writer.log_batch(1.0)
    with pytest.raises(error, match=sentence):
        call(one.writer)
    one.writer.log_batch(2.0)
    assert one.run().loss.tolist() == [1.0, 2.0]


def test_a_column_of_the_users_own_may_be_a_flag(recorded):
    one = recorded()
    one.writer.log_batch(np.array([0.5]), replayed=True, batch_size=0, step=0)
    run = one.run()
    assert run.loss.tolist() == [0.5]
    assert run.float("replayed").tolist() == [1.0]


def test_losses_that_are_not_finite(recorded):
    one = recorded()
    for loss in (1.0, math.nan, math.inf, -math.inf, torch.tensor(math.nan), 2.0):
        one.writer.log_batch(loss)
    np.testing.assert_array_equal(one.run().loss, [1.0, math.nan, math.inf, -math.inf, math.nan, 2.0])


def test_an_empty_recording(recorded):
    one = recorded()
    one.writer.close()
    from tb_losslens.store.logdir import load_runs

    run = load_runs(one.logdir).get("run")
    assert run is None or len(run) == 0


def test_what_it_costs_is_a_fact(recorded):
    one = recorded()
    for _ in one.writer.wrap(loader(two_classes())):
        one.writer.log_batch(1.0)
    facts = one.run().facts
    assert 0 < facts["overhead"] < 1
    assert 0 < facts["elapsed"] < 60
