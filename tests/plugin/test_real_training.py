"""A real PyTorch training, recorded with two lines, as the tab shows it."""

import numpy as np
import pytest

from tests.tensorboard_process import tensorboard

torch = pytest.importorskip("torch")

EPOCHS, LENGTH = 6, 25


def train(directory):
    """A small classifier with a learning rate that is raised tenfold; returns the losses that the loop saw."""
    from torch.utils.data import DataLoader, TensorDataset

    from tb_losslens import LossLensWriter

    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = torch.randn(LENGTH * 16, 8)
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    criterion = torch.nn.CrossEntropyLoss()
    writer = LossLensWriter(str(directory))
    writer.watch(model, optimizer, criterion=criterion)
    loader = writer.wrap(DataLoader(data, batch_size=16, shuffle=True))
    losses = []
    for epoch in range(EPOCHS):
        if epoch == 4:
            optimizer.param_groups[0]["lr"] = 0.2
        for x, y in loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            writer.add_scalar("Loss/train", loss.item(), len(losses))
            losses.append(loss.item())
        writer.add_scalar("Loss/epoch", np.mean(losses[-LENGTH:]), epoch)
    writer.close()
    return np.float32(losses)


@pytest.mark.parametrize("load_fast", [True, False])
def test_every_batch_that_the_loop_saw_is_in_the_tab(tmp_path, load_fast):
    losses = train(tmp_path / "exp1")
    n = EPOCHS * LENGTH
    with tensorboard(tmp_path, load_fast=load_fast) as running:
        running.wait_for_runs(["exp1"])
        running.wait_until(lambda: running.data("timeline", run="exp1")["batches"] == n)
        shown = running.data("timeline", run="exp1")
        assert shown["raw"] is True
        np.testing.assert_allclose(shown["columns"][2], losses, rtol=1e-6)
        assert shown["epochs"]["from"] == list(range(0, n, LENGTH))
        batch, lr = shown["lanes"]["columns"]
        assert [b for b, before, after in zip(batch[1:], lr, lr[1:], strict=False) if before != after] == [4 * LENGTH]
        assert running.data("boundaries", run="exp1")["step"] == list(range(LENGTH, n, LENGTH))
        lens = running.data("lens", run="exp1", boundary=3)
        moved = {signal["name"] for signal in lens["signals"] if signal["moved"]}
        assert "lr" in moved
        by_epoch = running.data("scalar", run="exp1", tag="Loss/epoch")["columns"][0]
        assert by_epoch == list(range(LENGTH - 1, n, LENGTH))
        assert running.data("scalars", run="exp1")["tags"][:2] == ["Loss/epoch", "Loss/train"]
