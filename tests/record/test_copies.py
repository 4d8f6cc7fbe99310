"""Copies of what is watched are what they would be without LossLens, and training one of them is not recorded."""

import copy
import io
import pickle

import torch
from torch.utils.data import DataLoader

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.fault_training import same, train, watched
from tests.record.training import mlp, two_classes


def test_copies_and_pickles_of_what_is_watched(tmp_path):
    """They are what they would be of a training that nobody watches, and training one of them is not recorded."""

    def prepare(model):
        twin = copy.deepcopy(model)
        loaded = pickle.loads(pickle.dumps(model))
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        for other in (twin, loaded, torch.load(buffer, weights_only=False)):
            assert same(list(other.state_dict().values()), list(model.state_dict().values()))
            other(torch.zeros(4, 8)).sum().backward()

    plain = train(prepare=prepare)
    weights, said = watched(tmp_path, prepare=prepare)
    assert same(weights, plain)
    assert said == []
    assert len(load_runs(tmp_path)["run"]) == 12


def test_a_copied_optimizer_and_loader(tmp_path):
    with LossLensWriter(str(tmp_path / "run")) as writer:
        loader = writer.wrap(DataLoader(two_classes(), 20))
        for other in (copy.deepcopy(loader), copy.copy(loader), pickle.loads(pickle.dumps(loader))):
            assert type(other) is DataLoader
            assert len(list(other)) == 6
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        writer.watch(model, optimizer)
        optimizer.zero_grad()
        model(torch.zeros(4, 8)).sum().backward()
        for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            other.step()
        optimizer.step()
