"""Trainings of several processes, for test_distributed.py: `torchrun --nproc_per_node=2 distributed_training.py LOGDIR`.

Each is run without LossLens, then with it. What is to be equal (weights, number of collectives) is printed as JSON. In the last
one the second process dies.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from tb_losslens.record.writer import LossLensWriter
from tests.record.training import two_classes

EPOCHS, BATCH, DIES_AT = 2, 5, 17


def collectives():
    """Collectives of the process group so far."""
    return dist.distributed_c10d._get_default_group()._get_sequence_number_for_group()


def train(kind, writer, *, dies=False):
    """Number of collectives, and the weights of this process."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    model = DistributedDataParallel(model) if kind == "ddp" else fully_shard(model)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = two_classes(samples=200)
    loader = DataLoader(data, BATCH, sampler=DistributedSampler(data, shuffle=True, seed=3))
    sampler = loader.sampler
    if writer is not None:
        writer.watch(model, optimizer, criterion=criterion)
        writer.set_probe()
        loader = writer.wrap(loader)
    begin, step = collectives(), 0
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
            optimizer.step()
            if writer is not None:
                # of all processes together where they are sharded, which is a collective of the training's own
                whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
                writer.log_batch(loss, step=step, true_norm=float(whole))
            elif hasattr(norm, "full_tensor"):
                norm.full_tensor()
            step += 1
            if dies and step == DIES_AT and dist.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
    made = collectives() - begin
    parts = [getattr(p, "to_local", lambda p=p: p)() for p in (*model.parameters(), *model.buffers())]
    return made, hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parts)).hexdigest()


def main():
    torch.set_num_threads(1)
    logdir = Path(sys.argv[1])
    dist.init_process_group("gloo")
    for kind in ("ddp", "fsdp"):
        plain = train(kind, None)
        with LossLensWriter(str(logdir / kind)) as writer:
            watched = train(kind, writer)
        begin = collectives()
        dist.all_reduce(torch.zeros(1))
        one_more = collectives() - begin
        line = {
            "one_more": one_more,
            "kind": kind,
            "rank": dist.get_rank(),
            "plain": plain,
            "watched": watched,
            "off": writer._guard.disabled,
        }
        (logdir / f"{kind}{dist.get_rank()}.json").write_text(json.dumps(line))
    train("ddp", LossLensWriter(str(logdir / "dies")), dies=True)


if __name__ == "__main__":
    main()
