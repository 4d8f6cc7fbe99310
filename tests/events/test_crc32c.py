import google_crc32c
import numpy as np
import pytest

from tb_losslens.events.crc32c import crc32c, crc32c_numpy, masked_crc32c


def random_bytes(size):
    return np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()


@pytest.mark.parametrize("size", [0, 1, 4, 12, 1023, 1024, 1025, 4096, 65535, 65537, 300_001])
def test_agrees_with_the_c_library(size):
    assert google_crc32c.implementation == "c"
    data = random_bytes(size)
    assert crc32c_numpy(data) == google_crc32c.value(data)
    assert crc32c(data) == google_crc32c.value(data)


def test_the_check_value_of_the_standard():
    assert crc32c_numpy(b"123456789") == 0xE3069283  # Castagnoli's, in every catalogue of CRCs
    assert crc32c_numpy(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


def test_masked_as_tensorboard_masks_it():
    from tensorboard.summary.writer.record_writer import masked_crc32c as theirs

    for size in (0, 8, 100, 5000):
        assert masked_crc32c(random_bytes(size)) == theirs(random_bytes(size))
