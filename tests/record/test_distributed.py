"""Two processes under torchrun: nothing is sent for the record, the reader joins them, and one outlives the other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from torch.utils.data import DistributedSampler

from tb_losslens.store.assemble import assemble
from tb_losslens.store.logdir import load_runs, read_recording
from tb_losslens.store.provider import ProviderSource
from tests.record.distributed_training import BATCH, DIES_AT, EPOCHS
from tests.record.training import events

ROOT = Path(__file__).resolve().parents[2]
STEPS = 200 // 2 // BATCH


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The log directory of all trainings of distributed_training.py."""
    logdir = tmp_path_factory.mktemp("logs")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(ROOT / "tests/record/distributed_training.py"), str(logdir)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (logdir / "dies").exists(), done.stderr
    return logdir


def ranks(directory):
    return [assemble(str(rank), read_recording(path)) for rank, path in enumerate((directory, directory / "rank1"))]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_no_collective_is_added_and_no_weight_changed(kind, logs):
    for rank in range(2):
        said = json.loads((logs / f"{kind}{rank}.json").read_text())
        (collectives, weights), watched = said["plain"], said["watched"]
        assert collectives >= EPOCHS * STEPS  # they are counted
        assert said["one_more"] == 1
        assert watched == [collectives, weights]
        assert said["off"] == {}


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_parameters_have_their_names_and_are_the_same_between_two_epochs(kind, logs):
    for run in ranks(logs / kind):
        assert run.facts["layers"]["names"] == [f"{i}.{name}" for i in (0, 1, 3) for name in ("weight", "bias")]
        (ended, _), (_, begun) = ([event.fields for event in events(run, f"epoch_{at}")] for at in ("end", "begin"))
        assert ended["parameters"] == begun["parameters"]
        assert len({event.fields["parameters"] for event in events(run, "epoch_begin")}) == EPOCHS
        norms = run.ragged["layer_grad_norm"]
        dense = np.flatnonzero(np.diff(norms.offsets))
        assert len(dense)
        # of sharded ones the part of this process, and that of all where each has the whole
        whole = np.sqrt([np.square(norms[row]).sum() for row in dense])
        np.testing.assert_allclose(whole, run.float("grad_norm")[dense], rtol=1e-5)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_the_reader_joins_the_processes(kind, logs):
    runs = load_runs(logs)
    assert sorted(runs) == ["ddp", "dies", "fsdp"]
    first, second = ranks(logs / kind)
    run = runs[kind]
    assert run.problems == ()
    assert run.facts["processes"] == 2
    np.testing.assert_array_equal(run.step, np.arange(EPOCHS * STEPS))
    np.testing.assert_allclose(run.loss, (first.loss + second.loss) / 2)
    assert (first.loss != second.loss).any()
    assert (run.float("batch_size") == 2 * BATCH).all()
    # the norm that torch itself found over all processes
    np.testing.assert_allclose(run.float("grad_norm"), run.float("true_norm"), rtol=1e-5)
    np.testing.assert_allclose(run.float("grad_norm_at_step"), run.float("true_norm"), rtol=1e-5)
    if kind == "fsdp":
        assert (first.float("grad_norm") < 0.999 * run.float("true_norm")).any()  # of one process alone it is not
    for row in range(len(run)):
        ids = [part.ragged["sample_ids"][row].tolist() for part in (first, second)]
        assert run.ragged["sample_ids"][row].tolist() == ids[0] + ids[1]
        assert run.ragged["classes"][row][:, 1].sum() == 2 * BATCH


def test_orders_and_sets_are_those_of_all_processes(logs):
    first, second = ranks(logs / "ddp")
    run = load_runs(logs)["ddp"]
    for number, epoch in enumerate(run.epochs):
        expected = []
        for rank in range(2):
            sampler = DistributedSampler(range(200), 2, rank, shuffle=True, seed=3)
            sampler.set_epoch(number)
            expected.append(list(sampler))
        ids = run.ragged["sample_ids"]
        mine = ids.values[ids.offsets[epoch.first] : ids.offsets[epoch.last]].reshape(-1, 2, BATCH)
        assert [mine[:, rank].ravel().tolist() for rank in range(2)] == expected
        assert epoch.fields["order_hashes"] == [part.epochs[number].fields["order_hash"] for part in (first, second)]
    sets = [epoch.fields["set_hash"] for epoch in run.epochs]
    assert sets[0] == sets[1]  # all samples in each epoch, although each process had others
    assert first.epochs[0].fields["set_hash"] != first.epochs[1].fields["set_hash"]
    orders = [epoch.fields["order_hash"] for epoch in run.epochs]
    assert orders[0] != orders[1]


def test_one_process_that_dies_leaves_the_record_of_the_other_whole(logs):
    first, second = ranks(logs / "dies")
    assert len(second) == DIES_AT
    assert len(first) in (DIES_AT, DIES_AT + 1)  # the next batch needs both
    run = load_runs(logs)["dies"]
    np.testing.assert_array_equal(run.step[:DIES_AT], np.arange(DIES_AT))
    np.testing.assert_allclose(run.loss[:DIES_AT], (first.loss[:DIES_AT] + second.loss) / 2)
    np.testing.assert_array_equal(run.loss[DIES_AT:], first.loss[DIES_AT:])


def test_through_tensorboard_it_is_the_same(logs):
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    source = ProviderSource(data_provider.MultiplexerDataProvider(multiplexer, str(logs)), context.RequestContext())
    runs = load_runs(logs)
    assert set(source.tokens()) <= set(runs)
    assert {"ddp", "fsdp"} <= set(source.tokens())
    for name in ("ddp", "fsdp"):
        run = source.read(name)
        np.testing.assert_array_equal(run.loss, runs[name].loss)
        np.testing.assert_array_equal(run.float("grad_norm"), runs[name].float("grad_norm"))
        np.testing.assert_array_equal(run.ragged["sample_ids"].values, runs[name].ragged["sample_ids"].values)
        source.forget(name)
        assert len(source.read(name)) == len(run)
