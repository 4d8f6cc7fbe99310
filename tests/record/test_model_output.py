"""The output of a model among all that it returns."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from tb_losslens.record.model_output import output_of

OUT, OTHER, LOSS, NUMBERS = torch.zeros(4, 3), torch.ones(2, 2), torch.tensor(0.5), torch.zeros(4, dtype=torch.long)


@pytest.mark.parametrize(
    "returned",
    [
        OUT,
        (OUT, None),
        [NUMBERS, OUT],
        (LOSS, OUT),
        {"out": OUT},
        {"loss": LOSS, "hidden": OTHER, "logits": OUT},
        OrderedDict(loss=LOSS, logits=OUT),
        SimpleNamespace(hidden=OTHER, logits=OUT),
        ({"aux": NUMBERS, "out": OUT}, OTHER),
    ],
)
def test_the_output_is_found(returned):
    assert output_of(returned) is OUT


@pytest.mark.parametrize(
    "returned", [None, LOSS, NUMBERS, torch.zeros(0, 3), (), {"logits": NUMBERS}, SimpleNamespace(out=OUT), OUT.to_sparse()]
)
def test_there_is_none(returned):
    assert output_of(returned) is None
