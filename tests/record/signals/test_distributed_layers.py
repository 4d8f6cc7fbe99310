"""Layers and BatchNorm in real distributed trainings of two processes: nothing is communicated for them."""

import json
import textwrap

import pytest

SCRIPT = """
import json, os, sys
sys.path.insert(0, os.getcwd())
import torch, torch.distributed as dist, torch.distributed.fsdp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode
from tb_losslens.record.signals.batchnorm import BatchNorms
from tb_losslens.record.signals.curvature import Curvature
from tb_losslens.record.signals.layers import Layers
from tb_losslens.record.signals.movement import Movement
from tb_losslens.record.signals.optimizer_state import OptimizerState
from tests.record.collecting import Said, started, train

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
outer = WRAP
said = Said()
optimizer = torch.optim.AdamW(outer.parameters())
movement = Movement(lambda: [outer], lambda: [optimizer], said)
parts = [
    Layers(movement),
    Curvature(movement),
    BatchNorms(lambda: [outer], said),
    OptimizerState(lambda: [optimizer]),
]
started(*parts)
norms = []

def seen(row, moment):
    if moment == "backward_ends":
        local = [p.grad.to_local() if hasattr(p.grad, "to_local") else p.grad for p in outer.parameters()]
        norms.append([g.norm().item() for g in local])

inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(rank)) + rank
def loss(model, step):
    return model(inputs).square().mean()

row = train(parts, outer, optimizer, loss, 3, seen=seen)[-1]

class Collectives(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "c10d" in function.namespace
        return function(*args, **(kwargs or {}))

counts = []
for watched in ((), parts):
    with Collectives() as calls:
        train(watched, outer, optimizer, loss, 2)
    counts.append(calls.count)
print(json.dumps({
    "said": said, "values": row.values, "counts": counts, "norms": norms[-1],
    "lists": {name: [float(x) for x in numbers] for name, numbers in row.lists.items()},
}))
dist.barrier()
dist.destroy_process_group()
"""


def run(server, tmp_path, wrap):
    scripts = []
    for rank in range(2):
        directory = tmp_path / str(rank)
        directory.mkdir()
        text = textwrap.dedent(SCRIPT).replace("WRAP", wrap)
        scripts.append(server.start(directory, text, str(rank), str(tmp_path / "meet")))
    return [json.loads(script.finish()[0].splitlines()[-1]) for script in scripts]


def test_the_running_statistics_that_process_0_sends_are_not_taken_for_those_of_a_batch(server, tmp_path):
    first, second = run(server, tmp_path, "nn.parallel.DistributedDataParallel(model)")
    assert first["said"]["batchnorm"] == {"names": ["1"], "skipped": {}}
    assert first["lists"]["bn_mean_gap"][0] > 0
    assert list(second["said"]["batchnorm"]["skipped"]) == ["1"]
    assert "process 0 sends its own" in second["said"]["batchnorm"]["skipped"]["1"]
    assert "bn_mean_gap" not in second["lists"]
    # the weights are the same in both, and so is how far they moved
    assert first["said"]["layers"] == second["said"]["layers"]
    assert first["lists"]["layer_update_ratio"] == second["lists"]["layer_update_ratio"]


def test_of_sharded_weights_the_part_of_each_process(server, tmp_path):
    pytest.importorskip("torch.distributed.fsdp", reason="this build of torch has no sharding")
    found = run(server, tmp_path, "torch.distributed.fsdp.fully_shard(model, mesh=init_device_mesh('cpu', (2,)))")
    for one in found:
        assert one["lists"]["layer_grad_norm"] == pytest.approx(one["norms"], rel=1e-5)
        assert one["values"]["opt_step"] == 3
        assert {"curvature", "update_ratio", "moment1_norm"} <= set(one["values"])
        alone, watched = one["counts"]
        assert alone == watched > 0
    assert found[0]["norms"] != found[1]["norms"]
