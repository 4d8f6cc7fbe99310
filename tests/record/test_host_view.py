"""Reading the tensors of a training leaves them as free to be resized as they were."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tb_losslens.record.host_view import host_view
from tests.record.training import two_classes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_it_is_the_memory_of_the_tensor_and_does_not_pin_it(dtype):
    tensor = torch.tensor([[0, 1], [1, 1], [0, 1]], requires_grad=False).to(dtype)
    array = host_view(tensor[:, 1:])
    np.testing.assert_array_equal(array, tensor[:, 1:].numpy(force=True).copy())
    tensor = tensor.clone()
    assert np.shares_memory(host_view(tensor), host_view(tensor))
    assert tensor.untyped_storage().resizable()


def test_it_takes_what_needs_a_gradient_and_what_is_empty():
    assert host_view(torch.zeros(3, requires_grad=True)).tolist() == [0, 0, 0]
    assert host_view(torch.zeros(0, 4)).shape == (0, 4)
    assert host_view(torch.tensor(2.0)).shape == ()


@pytest.mark.parametrize(("reduction", "dtype"), [("mean", torch.float64), ("none", torch.float32)])
def test_no_tensor_of_a_training_is_pinned(recorded, reduction, dtype):
    one = recorded()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)).to(dtype)
    criterion, optimizer = nn.CrossEntropyLoss(reduction=reduction), torch.optim.Adam(model.parameters())
    one.writer.watch(model, optimizer, criterion=criterion)
    one.writer.set_probe()
    used = []
    for _ in range(2):
        for number, (inputs, targets) in enumerate(one.writer.wrap(DataLoader(two_classes(samples=96), 16))):
            losses = criterion(model(inputs.to(dtype)), targets)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            ids = torch.arange(len(inputs))
            each = losses if reduction == "none" else None
            one.writer.log_batch(losses.mean(), per_sample=each, targets=targets, sample_ids=ids)
            used += [inputs, targets, losses, ids]
            used += [p.grad for p in model.parameters()]
            assert number < 6
    used += [*model.state_dict().values(), *(v for state in optimizer.state.values() for v in state.values())]
    run = one.run()
    assert {"classes", "layer_grad_norm", "bn_mean_gap", "sample_ids"} <= set(run.ragged)
    assert all(tensor.untyped_storage().resizable() for tensor in used)
