import time

import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2

from tb_losslens.record.disk.event_file import frame
from tb_losslens.store.records import Damage, scan_records

RNG = np.random.default_rng(0)


def payloads(count):
    return [RNG.integers(0, 256, int(RNG.integers(0, 400)), dtype=np.uint8).tobytes() for _ in range(count)]


def scan(data, start=0):
    damage = Damage()
    return [data[a:b] for a, b in scan_records(data, damage, start)], damage


@pytest.mark.parametrize("count", [0, 1, 50])
def test_every_record(count):
    wanted = payloads(count)
    assert scan(b"".join(map(frame, wanted))) == (wanted, Damage())


def test_from_a_position_on():
    wanted = payloads(9)
    assert scan(b"".join(map(frame, wanted)), len(b"".join(map(frame, wanted[:4]))))[0] == wanted[4:]


def test_a_cut_at_any_byte_costs_the_last_record():
    wanted = payloads(4)
    data = b"".join(map(frame, wanted))
    whole = len(data) - len(frame(wanted[-1]))
    for end in range(whole + 1, len(data)):
        assert scan(data[:end]) == (wanted[:-1], Damage(truncated=True))


@pytest.mark.parametrize("position", range(12))
def test_a_damaged_head_costs_one_record(position):
    wanted = payloads(20)
    data = bytearray(b"".join(map(frame, wanted)))
    data[len(b"".join(map(frame, wanted[:7]))) + position] ^= 0x10
    assert scan(bytes(data)) == (wanted[:7] + wanted[8:], Damage(broken=1))


def test_damage_at_the_end_ends_the_scan():
    wanted = payloads(5)
    data = bytearray(b"".join(map(frame, wanted)))
    data[len(b"".join(map(frame, wanted[:4]))) + 1] ^= 1
    assert scan(bytes(data)) == (wanted[:4], Damage(broken=1))


def test_missing_bytes_in_the_middle():
    wanted = [bytes([i]) * 100 for i in range(20)]
    data = b"".join(map(frame, wanted))
    at = len(frame(wanted[0])) * 7 + 50
    found, damage = scan(data[:at] + data[at + 300 :])
    assert found[:7] == wanted[:7]
    assert found[-9:] == wanted[-9:]
    assert damage.broken >= 1


def test_garbage_in_front():
    wanted = payloads(5)
    assert scan(RNG.bytes(700_000) + b"".join(map(frame, wanted))) == (wanted, Damage(broken=1))


def test_a_length_beyond_the_file_with_records_behind_it():
    wanted = payloads(5)
    # a whole head that promises more than there is, as when a file was cut and appended to
    data = frame(bytes(10_000))[:60] + b"".join(map(frame, wanted))
    assert scan(data) == (wanted, Damage(broken=1))


def test_reads_what_tensorboard_wrote(tmp_path):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    for step in range(100):
        writer.add_event(event_pb2.Event(step=step, wall_time=time.time()))
    writer.close()
    (path,) = tmp_path.iterdir()
    records, damage = scan(path.read_bytes())
    assert [event_pb2.Event.FromString(data).step for data in records] == [0, *range(100)]
    assert damage == Damage()
