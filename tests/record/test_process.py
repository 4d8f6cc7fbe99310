"""What a process may do to a recording: signals, forks, few file descriptors, no disk."""

import os
import signal
import subprocess
import textwrap
import time

import numpy as np
import pytest

from tb_losslens.store.logdir import load_runs

HEAD = """
import os, signal, sys, warnings
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
from tb_losslens.record.writer import LossLensWriter
logdir = sys.argv[1]
"""


@pytest.fixture
def start(server, tmp_path):
    def run(body):
        return server.start(tmp_path, HEAD + textwrap.dedent(body), str(tmp_path / "logs" / "run"))

    return run


def rows(tmp_path):
    return load_runs(tmp_path / "logs")["run"]


ENDLESS = """
    writer = LossLensWriter(logdir)
    step = 0
    for step in range(40):
        writer.log_batch(step / 2, step=step)
    print("ready", flush=True)
    while True:
        signal.pause()
"""


def test_nothing_is_lost_where_the_writer_is_never_closed(start, tmp_path):
    start("writer = LossLensWriter(logdir)\nfor step in range(40): writer.log_batch(step, step=step)").finish()
    run = rows(tmp_path)
    assert run.step.tolist() == list(range(40))
    assert [session["closed"] for session in run.sessions] == [True]


def test_sigterm_flushes_and_ends_as_it_would_have(start, tmp_path):
    process = start(ENDLESS)
    process.wait_for("ready")
    process.send(signal.SIGTERM)
    process.finish(-signal.SIGTERM)
    assert rows(tmp_path).step.tolist() == list(range(40))


def test_sigterm_is_passed_on_to_the_handler_that_was_there(start, tmp_path):
    body = """
    def mine(number, frame):
        print("mine", flush=True)
        sys.exit(7)
    signal.signal(signal.SIGTERM, mine)
    """
    process = start(textwrap.dedent(body) + textwrap.dedent(ENDLESS))
    process.wait_for("ready")
    process.send(signal.SIGTERM)
    out, _ = process.finish(7)
    assert out.split() == ["ready", "mine"]
    assert rows(tmp_path).step.tolist() == list(range(40))


def test_sigterm_in_the_middle_of_our_own_calls(start, tmp_path):
    body = """
    writer = LossLensWriter(logdir)
    print("ready", flush=True)
    step = 0
    while True:
        writer.log_batch(step, step=step)
        writer.add_scalar("x", step, step)
        step += 1
    """
    for _ in range(3):
        process = start(body)
        process.wait_for("ready")
        time.sleep(0.1)
        process.send(signal.SIGTERM)
        process.finish(-signal.SIGTERM)
    run = rows(tmp_path)
    assert len(run) > 100
    assert run.problems == ()
    assert (np.diff(run.step) == 1).all()


def test_kill_9_loses_nothing_that_was_logged(start, tmp_path):
    body = """
    model, criterion = nn.Linear(4, 2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer = LossLensWriter(logdir)
    writer.watch(model, optimizer, criterion=criterion)
    data = TensorDataset(torch.randn(100, 4), torch.zeros(100, dtype=torch.long))
    for position, (inputs, targets) in enumerate(writer.wrap(DataLoader(data, 4, shuffle=True))):
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
        if position == 17:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    start(body).finish(-signal.SIGKILL)
    run = rows(tmp_path)
    assert len(run) == 18
    assert np.isfinite(run.loss).all()
    assert np.isfinite(run.float("grad_norm_at_step")).all()
    assert [len(run.ragged["sample_ids"][row]) for row in range(18)] == [4] * 18


def test_two_thousand_steps_with_two_workers_and_few_descriptors(start, tmp_path):
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    torch.manual_seed(0)
    model, criterion = nn.Linear(4, 2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer = LossLensWriter(logdir)
    writer.watch(model, optimizer, criterion=criterion)
    data = TensorDataset(torch.randn(4000, 4), torch.zeros(4000, dtype=torch.long))
    most = 0
    for inputs, targets in writer.wrap(DataLoader(data, 2, shuffle=True, num_workers=2)):
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
        most = max(most, len(os.listdir("/proc/self/fd")))
    writer.close()
    print(most)
    """
    out, err = start(body).finish()
    assert int(out) < 64
    assert "not recorded" not in err
    run = rows(tmp_path)
    assert len(run) == 2000
    assert sorted(run.ragged["sample_ids"].values.tolist()) == list(range(4000))


def test_a_forked_child_writes_nothing_and_hangs_nowhere(start, tmp_path):
    body = """
    writer = LossLensWriter(logdir)
    loader = writer.wrap(DataLoader(TensorDataset(torch.zeros(8, 1)), 2))
    for step in range(5):
        writer.log_batch(step, step=step)
    child = os.fork()
    if not child:
        for step in range(300):
            writer.log_batch(step, step=1000 + step)
            writer.add_scalar("x", step, step)
        for _ in loader:
            writer.log_batch(1.0)
        writer.flush()
        writer.close()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for step in range(5, 10):
        writer.log_batch(step, step=step)
    writer.close()
    """
    start(body).finish()
    run = rows(tmp_path)
    assert run.step.tolist() == list(range(10))
    assert run.problems == ()
    assert len(run.sessions) == 1


TRAIN = """
    torch.manual_seed(0)
    model, criterion = nn.Linear(4, 2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer.watch(model, optimizer, criterion=criterion)
    data = TensorDataset(torch.randn(400, 4), torch.zeros(400, dtype=torch.long))
    step = 0
    for epoch in range(3):
        for inputs, targets in writer.wrap(DataLoader(data, 8, shuffle=True)):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            writer.add_scalar("Loss/train", loss.item(), step)
            writer.add_histogram("w", model.weight, step)
            writer.add_scalars("many", {"a": 1.0, "b": 2.0}, step)
            step += 1
        writer.flush()
    writer.add_hparams({"lr": 0.1}, {"hparam/loss": 1.0})
    writer.note("end")
    writer.close()
    print("trained", step)
"""


def warnings_in(err):
    return [line for line in err.splitlines() if "LossLens" in line and "Warning" in line]


def test_a_directory_that_cannot_be_made_is_one_warning(start, tmp_path):
    (tmp_path / "logs").write_text("a file where the directory should be")
    out, err = start("writer = LossLensWriter(logdir)" + textwrap.dedent(TRAIN)).finish()
    assert out.strip() == "trained 150"
    assert len(warnings_in(err)) == 1, err


def test_one_event_that_no_disk_has_room_for_costs_itself_only(start, tmp_path):
    """A file may not grow beyond 2.2 MB, so that there is no room for the tail, nor for a text of 3 MB."""
    body = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_200_000, 2_200_000))
    writer = LossLensWriter(logdir)
    writer.add_text("big", "x" * 3_000_000)
    """
    out, err = start(textwrap.dedent(body) + textwrap.dedent(TRAIN)).finish()
    assert out.strip() == "trained 150"
    (said,) = warnings_in(err)
    assert "if this process is killed they are lost, and others for as long as there is no room" in said
    assert "File too large" in said
    run = rows(tmp_path)
    assert len(run) == 150
    assert run.problems == ()


def test_what_a_full_disk_costs_is_said_and_counted(start, tmp_path):
    """There is no room for the tail, and for a part of the events only."""
    body = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    writer = LossLensWriter(logdir)
    """
    out, err = start(textwrap.dedent(body) + textwrap.dedent(TRAIN)).finish()
    assert out.strip() == "trained 150"
    (said,) = warnings_in(err)
    assert "if this process is killed they are lost, and others for as long as there is no room" in said
    run = rows(tmp_path)
    missing = 150 - len(run)
    assert 0 < missing < 150
    assert run.problems[0].startswith(f"{missing} of 150 batches could not be written (File too large)")
    assert sum(gap.batches for gap in run.gaps) == missing


def test_a_disk_that_fills_up_later_is_said_once_and_then(start, tmp_path):
    """The near miss: there was room for the tail, so that it is the event file that says it."""
    body = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = LossLensWriter(logdir)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    """
    out, err = start(textwrap.dedent(body) + textwrap.dedent(TRAIN)).finish()
    assert out.strip() == "trained 150"
    (said,) = warnings_in(err)
    assert "batches are lost until that works again" in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("size", ["2300k", "96k"])
def test_a_really_full_disk(start, tmp_path, size):
    disk = tmp_path / "logs"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small disk cannot be mounted here; the limit on file sizes above stands in for it")
    try:
        out, err = start("writer = LossLensWriter(logdir)" + textwrap.dedent(TRAIN)).finish()
    finally:
        subprocess.run(["umount", str(disk)], check=False)
    assert out.strip() == "trained 150"
    assert len(warnings_in(err)) == 1, err


def test_each_process_of_a_distributed_training_has_a_directory(server, tmp_path):
    body = f"""
    import torch.distributed as dist
    rank = int(sys.argv[2])
    dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=rank, world_size=2)
    writer = LossLensWriter(logdir)
    for step in range(3 + rank):
        writer.log_batch(float(step))
    writer.close()
    dist.barrier()
    dist.destroy_process_group()
    """
    scripts = []
    for rank in range(2):
        directory = tmp_path / f"script{rank}"
        directory.mkdir()
        scripts.append(server.start(directory, HEAD + textwrap.dedent(body), str(tmp_path / "logs" / "run"), str(rank)))
    for script in scripts:
        script.finish()
    assert len(rows(tmp_path)) == 3
    assert len(load_runs(tmp_path / "logs" / "run" / "rank1")["."]) == 4
