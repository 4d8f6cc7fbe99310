"""Kinds of DDP and FSDP, for test_distributed_variants.py: `torchrun --nproc_per_node=2 distributed_variants.py LOGDIR`.

Each is trained without LossLens, then with it and with a wrapped loader or a bare one; what the loops say is written as JSON.
"""

import hashlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, DistributedSampler

from tb_losslens.record.writer import LossLensWriter
from tests.record.training import two_classes

EPOCHS, BATCH, CLIP = 2, 5, 0.5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(16, 16), nn.LayerNorm(16), nn.Dropout(0.1)

    def forward(self, inputs):
        return inputs + self.drop(torch.relu(self.linear(self.norm(inputs))))


class Net(nn.Module):
    def __init__(self, *, checkpointed=False):
        super().__init__()
        self.first, self.blocks, self.head = nn.Linear(8, 16), nn.ModuleList([Block(), Block()]), nn.Linear(16, 2)
        self.checkpointed = checkpointed

    def forward(self, inputs):
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = checkpoint(block, hidden, use_reentrant=False) if self.checkpointed else block(hidden)
        return self.head(hidden)


def sharded(*, checkpointed=False, **options):
    model = Net(checkpointed=checkpointed)
    for block in model.blocks:
        fully_shard(block, **options)
    return fully_shard(model, **options)


HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
KINDS = {
    "ddp_static": lambda: DistributedDataParallel(Net(checkpointed=True), static_graph=True),
    "ddp_accumulating": lambda: DistributedDataParallel(Net(), gradient_as_bucket_view=True),
    "fsdp_kept": lambda: sharded(reshard_after_forward=False),
    "fsdp_checkpointed": lambda: sharded(checkpointed=True),
    "fsdp_all_checkpointed": sharded,
    "fsdp_half": lambda: sharded(mp_policy=HALF),
    "fsdp_accumulating": sharded,
}


def train(kind, writer=None, *, wrapped=True):
    """Weights of this process, and what the loop says of each batch."""
    torch.manual_seed(0)
    model, criterion = KINDS[kind](), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    data = two_classes(samples=100)
    batches = DataLoader(data, BATCH, sampler=DistributedSampler(data, seed=3))
    sampler = batches.sampler
    if writer is not None:
        writer.watch(model, optimizer, criterion=criterion)
        batches = writer.wrap(batches) if wrapped else batches
    every = 2 if "accumulating" in kind else 1
    losses, norms, count = [], [], 0
    torch.manual_seed(7 + dist.get_rank())
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for inputs, targets in batches:
            count += 1
            steps = count % every == 0
            if kind == "fsdp_accumulating":
                model.set_requires_gradient_sync(steps)
            with model.no_sync() if kind == "ddp_accumulating" and not steps else nullcontext():
                whole = kind == "fsdp_all_checkpointed"
                output = checkpoint(model, inputs, use_reentrant=False) if whole else model(inputs)
                loss = criterion(output.float(), targets)
                (loss / every).backward()
            losses.append(loss.item())
            if steps:
                norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                norms.append(float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm))
                optimizer.step()
                optimizer.zero_grad()
    parts = [getattr(p, "to_local", lambda p=p: p)() for p in (*model.parameters(), *model.buffers())]
    weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parts)).hexdigest()
    return {"weights": weights, "losses": losses, "norms": norms}


def main():
    torch.set_num_threads(1)
    logdir = Path(sys.argv[1])
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for kind in KINDS:
        said = {"plain": train(kind)}
        for way in ("wrapped", "bare"):
            with LossLensWriter(str(logdir / f"{kind}_{way}")) as writer:
                said[way] = train(kind, writer, wrapped=way == "wrapped")
            said[f"{way}_off"] = writer._guard.disabled
        (logdir / f"{kind}{rank}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
