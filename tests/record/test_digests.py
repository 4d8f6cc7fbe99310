"""The compiled digests give the numbers of numpy, and the package does without them."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tb_losslens.record import digests, order
from tb_losslens.record.order import OrderDigest
from tb_losslens.record.signals import bit_sum as bits
from tb_losslens.record.signals.checksum import checksum

compiled = pytest.mark.skipif(digests.appended is None, reason="the package was built without a compiler for C")

ROW = 8192 * 8  # bytes


@compiled
@pytest.mark.parametrize("size", [1, 7, 8, 9, 4096, ROW - 8, ROW - 1, ROW, ROW + 3, 2 * ROW, 4 * ROW - 1])
def test_bits_of_any_number_of_bytes(size):
    octets = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert digests.weighted(octets) == bits.weighted(octets) % 2**64


@compiled
@pytest.mark.parametrize("size", [1, 2, 4096, 4097, 9000])
def test_ids_of_any_size_after_others(size):
    ids = np.random.default_rng(size).integers(-(2**63), 2**63, size)
    assert digests.appended(ids, 2**64 - 3, 17) == order.appended(ids, 2**64 - 3, 17)


@compiled
def test_a_mix_of_one_number_is_that_of_the_array():
    for number in (0, 1, 2**63, 2**64 - 1):
        assert order._mixed(number) == int(order._mix(np.array([number], np.uint64))[0])


def _digests():
    one = OrderDigest()
    for batch in np.array_split(np.random.default_rng(0).permutation(9000), 70):
        one.add(batch)
    generator = torch.Generator().manual_seed(0)
    shapes = [(3,), (17, 5), (9000,), (1,), (129, 130)]
    tensors = {str(i): torch.randn(shape, generator=generator) for i, shape in enumerate(shapes)}
    tensors["half"], tensors["whole"] = tensors["1"].half(), torch.arange(7)
    return one.fields(), checksum(tensors.items()).value


@compiled
def test_records_are_the_same_without_a_compiler(monkeypatch):
    with_it = _digests()
    monkeypatch.setattr(digests, "appended", None)
    monkeypatch.setattr(digests, "weighted", None)
    assert _digests() == with_it


@compiled
@pytest.mark.parametrize("given", [b"1234567", [1, 2], None, 3])
def test_what_holds_no_ids_is_no_crash(given):
    if isinstance(given, bytes):
        assert digests.appended(given, 5, 6) == (5, 6)  # not one whole number
    else:
        with pytest.raises(TypeError):
            digests.appended(given, 0, 0)
        with pytest.raises(TypeError):
            digests.weighted(given)


@pytest.mark.parametrize("module", ["None", "types.SimpleNamespace(INTERFACE=-1)"])
def test_a_module_that_is_not_there_or_of_other_sources_is_left_alone(module):
    code = (
        f"import sys, types\nsys.modules['tb_losslens.record._digests'] = {module}\n"
        "from tb_losslens.record import digests\nprint(digests.appended, digests.weighted)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "None"]
