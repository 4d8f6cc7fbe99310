"""On two processes the probe sends nothing: as many collectives, and the same bits, as without it."""

import warnings
from collections import Counter

import torch
from torch import distributed, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from tb_losslens.record.writer import LossLensWriter
from tests.record.no_trace import same


def train(logdir, probing):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(120, 8), torch.randint(0, 3, (120,)))
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))
    model, criterion = nn.parallel.DistributedDataParallel(net), nn.CrossEntropyLoss()
    optimizer, sampler = torch.optim.SGD(model.parameters(), lr=0.1), DistributedSampler(data)
    writer = LossLensWriter(str(logdir / "run"))
    writer.watch(model, optimizer, criterion=criterion)
    if probing:
        writer.set_probe()
        writer._watch.probe.budget.share = 100.0
    loader = writer.wrap(DataLoader(data, 10, sampler=sampler))
    held_out = writer.wrap(DataLoader(data, 40), split="val")
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for epoch in range(2):
            sampler.set_epoch(epoch)
            model.train()
            for inputs, targets in loader:
                optimizer.zero_grad()
                criterion(model(inputs), targets).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for inputs, targets in held_out:
                    criterion(model(inputs), targets)
    sent = Counter(event.name for event in profiler.events() if event.name.startswith("c10d::"))
    looks, failed = writer._watch.probe.budget.spent if probing else 0.0, dict(writer._guard.disabled)
    writer.close()
    return (dict(sent), dict(model.state_dict()), torch.get_rng_state()), looks, failed


def process(rank, folder):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    results = [train(folder / name, probing) for name, probing in (("without", False), ("with", True))]
    torch.save(results, folder / f"{rank}.pt")
    distributed.destroy_process_group()


SCRIPT = """
import pathlib, sys
from tests.record.probe.test_distributed import process
process(int(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def test_no_collective_is_added(server, tmp_path):
    scripts = []
    for rank in range(2):
        directory = tmp_path / str(rank)
        directory.mkdir()
        scripts.append(server.start(directory, SCRIPT, str(rank), str(tmp_path)))
    for script in scripts:
        script.finish()
    for rank in range(2):
        (alone, _, _), (probed, looked, failed) = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert looked > 0
        assert failed == {}
        assert alone[0]["c10d::allreduce_"] == 12  # six batches an epoch for each process
        assert same(alone, probed)
