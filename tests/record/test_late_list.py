import numpy as np
import pytest
import torch

from tb_losslens.record.disk.lists import as_list
from tb_losslens.record.late_list import LateList, as_row_list


def test_an_array_where_it_is_on_the_cpu_already():
    values = as_row_list(torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float32
    assert as_row_list(np.array([3.0])).dtype == np.float32


def test_numpy_and_the_session_take_it_for_an_array():
    late = LateList(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert late.ready
    assert np.asarray(late).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    sums = late.then(lambda array: array.sum(0))
    assert as_list(sums).tolist() == [4.0, 6.0]
    assert np.asarray(sums, dtype=np.float64).dtype == np.float64


def test_what_was_read_is_what_it_was():
    source = torch.ones(3)
    late = LateList(source.clone())
    np.asarray(late)[:] = 7
    assert np.asarray(late).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_is_not_waited_for():
    source = torch.zeros(4, device="cuda")
    torch.cuda.synchronize()
    torch.cuda._sleep(200_000_000)
    source += 1
    late = LateList(source)
    assert not late.ready
    assert np.asarray(late).tolist() == [1.0] * 4
