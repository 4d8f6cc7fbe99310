"""The code for a loss that is a sum is run in a training, which must then take the steps that it took before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tb_losslens.analysis.sum_repair import sum_fix
from tb_losslens.record.facts import optimizer_facts
from tb_losslens.store.run import Run

SIZE, CLIP = 32, 20.0
Make = Any


def trained(make: Make, *, clip: bool, mended: bool) -> tuple[torch.Tensor, str]:
    """(the weights after 30 steps on full batches, the code)"""
    torch.manual_seed(0)
    x, w = torch.randn(30, SIZE, 5), torch.nn.Linear(5, 1).double()
    optimizer = make(w.parameters())
    norms = np.full(30, 50.0)
    run = Run.from_arrays(loss=norms, grad_norm=norms, grad_norm_at_step=np.minimum(norms, CLIP if clip else 1e9))
    code = sum_fix(Run(run.name, run.columns, facts={"optimizer": optimizer_facts(optimizer)}), SIZE)
    loss_line, *rest = code.split("\n")
    assert ("clipped" in code) == clip
    if mended:
        exec("\n".join(rest), {"optimizer": optimizer})
    names: dict[str, Any] = {"criterion": torch.nn.MSELoss(reduction="sum")}
    for batch in x.double():
        names.update(output=w(batch), target=batch.sum(1, keepdim=True))
        exec(loss_line if mended else "loss = criterion(output, target)", names)
        optimizer.zero_grad()
        names["loss"].backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(w.parameters(), CLIP / SIZE if mended else CLIP)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in w.parameters()]), code


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=1e-3, weight_decay=0.5),
        lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.5, eps=1e-14),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.5, eps=1e-14),
    ],
)
def test_the_steps_stay_as_long_as_they_are(make: Make, clip: bool) -> None:
    before, _ = trained(make, clip=clip, mended=False)
    after, _ = trained(make, clip=clip, mended=True)
    assert torch.allclose(before, after, rtol=1e-4)
