import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tb_losslens.record.batch import Batch
from tb_losslens.record.passes import Pass
from tb_losslens.record.signals.fingerprint_table import MOST_IDS, FingerprintTable, words_of
from tb_losslens.record.signals.fingerprint_table import prints_of as of_words
from tb_losslens.record.signals.fingerprints import Fingerprints


def prints_of(batch):
    return of_words(words_of(batch))


class Samples(Dataset):
    def __init__(self, labels=None, augment=0.0):
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.rand(50, 3, 8, 8, generator=generator)
        self.labels = torch.arange(50) % 7 if labels is None else labels
        self.augment = augment

    def __len__(self):
        return 50

    def __getitem__(self, index):
        x = self.inputs[index]
        return x + self.augment * torch.rand_like(x) if self.augment else x, self.labels[index], index


def epoch(fingerprints, dataset, shape=lambda x, y: (x, y)):
    for x, y, ids in DataLoader(dataset, 8, shuffle=True):
        fingerprints.delivered(Batch(ids=ids.numpy()), shape(x, y))
    return fingerprints.epoch_ends(0)


def test_a_data_set_that_stays_the_same():
    fingerprints, dataset = Fingerprints(), Samples()
    assert epoch(fingerprints, dataset) is None
    same = {"targets_compared": 50, "targets_changed": 0, "inputs_compared": 50, "inputs_changed": 0}
    assert epoch(fingerprints, dataset) == same
    assert epoch(fingerprints, dataset) == same


def test_sample_17_had_label_3_and_now_has_4():
    fingerprints, dataset = Fingerprints(), Samples()
    epoch(fingerprints, dataset)
    assert dataset.labels[17] == 3
    dataset.labels[17] = 4
    dataset.labels[20] = -100
    found = epoch(fingerprints, dataset)
    assert found["targets_changed"] == 2
    assert sorted(found["target_changes"]) == [[17, 3, 4], [20, 6, -100]]
    assert epoch(fingerprints, dataset)["targets_changed"] == 0


def test_many_changes_are_counted_and_the_first_ones_told():
    fingerprints, dataset = Fingerprints(), Samples()
    epoch(fingerprints, dataset)
    dataset.labels = (dataset.labels + 1) % 7
    found = epoch(fingerprints, dataset)
    assert found["targets_changed"] == 50
    assert len(found["target_changes"]) == 16
    assert all(now == (before + 1) % 7 for _, before, now in found["target_changes"])


def test_passes_are_left_out_where_they_would_take_too_much(monkeypatch):
    def passes(share, grant=0.0):
        monkeypatch.setattr("tb_losslens.record.signals.fingerprints.GRANT", grant)
        fingerprints, read = Fingerprints(share), []
        for number in range(300):
            source = Pass(None, "train", {})
            for begin in range(0, 40, 8):
                ids = np.arange(begin, begin + 8)
                fingerprints.delivered(Batch(ids=ids, source=source), (torch.ones(8, 3), torch.full((8,), number)))
            found = fingerprints.epoch_ends(number)
            if found and number:
                assert (found["targets_compared"], found["targets_changed"]) == (40, 40)
                read.append(number)
                before = read[-2] if len(read) > 1 else 0
                assert found["target_changes"][0][1:] == [before, number]  # against the last pass that was read
        return read

    assert passes(3.0) == passes(1e-9, grant=60) == list(range(1, 300))
    assert passes(1e-9) == [1, 257]
    found = passes(1e-9, grant=0.001)  # a handful of passes more
    assert found[0] == 1
    assert len(found) < 200
    assert set(np.diff(found)) <= {1, 256}


def test_augmented_inputs_change_each_epoch_and_targets_do_not():
    fingerprints, dataset = Fingerprints(), Samples(augment=0.1)
    epoch(fingerprints, dataset)
    found = epoch(fingerprints, dataset)
    assert (found["inputs_changed"], found["targets_changed"]) == (50, 0)


@pytest.mark.parametrize("labels", [torch.rand(50), torch.rand(50, 4), torch.randint(0, 9, (50, 5)), torch.rand(50).bfloat16()])
def test_targets_that_are_no_labels(labels):
    fingerprints, dataset = Fingerprints(), Samples(labels.clone())
    epoch(fingerprints, dataset)
    dataset.labels[31] = dataset.labels[31] + 1
    found = epoch(fingerprints, dataset)
    assert found["target_changes"] == [[31]]


def test_batches_of_other_shapes():
    for shape in (
        lambda x, y: {"pixel_values": x, "labels": y},
        lambda x, y: {"labels": y, "pixel_values": x},
        lambda x, y: [(x, y), y],
    ):
        fingerprints, dataset = Fingerprints(), Samples()
        epoch(fingerprints, dataset, shape)
        dataset.labels[17] = 5
        found = epoch(fingerprints, dataset, shape)
        assert found["target_changes"] == [[17, 3, 5]]
        assert (found["inputs_compared"], found["inputs_changed"]) == (50, 0)
    only_inputs = Fingerprints()
    epoch(only_inputs, Samples(), lambda x, y: x)
    assert epoch(only_inputs, Samples(), lambda x, y: x) == {"inputs_compared": 50, "inputs_changed": 0}


def test_what_cannot_be_told_apart_by_id_is_left_alone():
    fingerprints = Fingerprints()
    x = torch.rand(4, 2)
    for ids in (None, np.arange(3), np.arange(0)):
        fingerprints.delivered(Batch(ids=ids), (x, x))
    fingerprints.delivered(Batch(ids=np.arange(4)), (torch.tensor(1.0), "text"))
    fingerprints.delivered(Batch(ids=np.arange(4)), ())
    assert fingerprints.epoch_ends(0) is None


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.uint8, torch.int64, torch.bool, torch.complex64]
)
@pytest.mark.parametrize("shape", [(5, 3), (5, 1), (5,), (5, 3, 16, 16)])
def test_one_element_at_a_place_that_is_looked_at_changes_one_fingerprint(dtype, shape):
    generator = torch.Generator().manual_seed(1)
    batch = (torch.rand(*shape, generator=generator) * 9).to(dtype)
    if dtype == torch.bool:
        batch = torch.rand(*shape, generator=generator) > 0.5
    if batch.shape == (5,) and not batch.is_floating_point() and not batch.is_complex() and dtype != torch.bool:
        assert prints_of(batch).tolist() == batch.tolist()
    before = prints_of(batch)
    batch.reshape(5, -1)[2, 0] = ~batch.reshape(5, -1)[2, 0] if dtype == torch.bool else batch.reshape(5, -1)[2, 0] + 1
    assert (before != prints_of(batch)).tolist() == [False, False, True, False, False]
    assert before.shape == (5,)


def test_fingerprints_rarely_meet():
    batch = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(2))
    assert len(np.unique(prints_of(batch))) > 19_990
    tokens = torch.randint(0, 1000, (20_000, 8), generator=torch.Generator().manual_seed(2))
    assert len(np.unique(prints_of(tokens))) > 19_990


def test_what_a_label_is():
    assert prints_of(torch.tensor([[3], [-4]])).view(np.int32).tolist() == [3, -4]
    assert words_of(torch.tensor([0.5])).dtype == np.uint32
    assert words_of(torch.zeros(2, device="meta")) is None
    assert words_of(torch.eye(2).to_sparse()) is None


def test_many_batches_and_batches_of_changing_length_are_all_compared():
    fingerprints = Fingerprints()
    for _ in range(2):
        for begin in range(0, 10_000, 100):
            ids = np.arange(begin, begin + 100)
            tokens = torch.from_numpy(ids)[:, None] + torch.arange(5 + begin // 1000)
            fingerprints.delivered(Batch(ids=ids), (tokens, torch.from_numpy(ids)))
        found = fingerprints.epoch_ends(0)
    assert found == {"targets_compared": 10_000, "targets_changed": 0, "inputs_compared": 10_000, "inputs_changed": 0}


def test_the_memory_is_bounded():
    table = FingerprintTable(keep=2)
    for begin in range(0, 3_000_000, 50_000):
        ids = np.arange(begin, begin + 50_000)
        table.add(ids, ids.astype(np.uint32))
    assert table.nbytes == 5 * MOST_IDS
    table.add(np.array([-1, MOST_IDS, 7]), np.array([1, 2, 7], np.uint32))
    assert (table.compared, table.changed) == (1, 0)
    table.add(np.array([7, 7, 9]), np.array([7, 8, 1], np.uint32))
    assert [change.sample for change in table.changes] == [7, 9]


class Timed(Fingerprints):
    """Fingerprints in a training whose steps take 0.4 ms and whose batches take 0.1 ms to read; it notes which were read."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.now = self.ran = 100.0
        self.read = []
        monkeypatch.setattr("tb_losslens.record.signals.fingerprints.perf_counter", lambda: self.now)
        monkeypatch.setattr("tb_losslens.record.signals.fingerprints.thread_time", lambda: self.ran)

    def _take(self, ids, raw):
        super()._take(ids, raw)
        self.read.append(ids)
        self.now, self.ran = self.now + 1e-4, self.ran + 1e-4

    def epoch(self, order, labels, *, short_way=False):
        """An epoch of batches of 4; by the short way they are delivered only if that was wanted at the last of each 500."""
        source, self.read, wanted = Pass(None, "train", {}), [], True
        for begin in range(0, len(order), 4):
            if begin % 2000 == 0:
                wanted = not (short_way and begin and self.asleep)
            ids = order[begin : begin + 4]
            if wanted:
                self.delivered(Batch(ids=ids, source=source), (torch.ones(len(ids), 3), labels[torch.from_numpy(ids)]))
            self.now += 4e-4
        return self.epoch_ends(0)


@pytest.mark.parametrize("short_way", [False, True])
def test_of_a_long_pass_only_as_much_is_read_as_is_paid_for_and_that_is_said(monkeypatch, short_way):
    fingerprints, rng, labels = Timed(monkeypatch), np.random.default_rng(3), torch.arange(200_000) % 7
    monkeypatch.setattr("tb_losslens.record.signals.fingerprints.MOST_LEFT_OUT", 0)  # which are read: another matter
    before, parts, told = np.zeros(0, np.int64), [], []
    for number in range(5):
        labels = labels + 1 if number == 2 else labels
        order = rng.permutation(200_000)
        found = fingerprints.epoch(order, labels, short_way=short_way)
        read = np.concatenate(fingerprints.read)
        assert found["fingerprinted_batches"] == len(fingerprints.read) < 50_000
        spent, least = len(fingerprints.read) * 1e-4, 50_000 * 4e-4 * 0.01
        assert least < spent < least + (0.25 if not number else 0.0) + 2 * 0.1 + 0.01
        places = np.flatnonzero(np.isin(order, read))
        assert places[0] == 0
        assert places[-1] > 100_000  # not only the start of a pass
        if number:
            assert found["targets_compared"] == len(np.intersect1d(read, before)) > 100
            told.append(found["targets_changed"])
            parts.append(found["targets_compared"])
        before = read
    assert told == [0, parts[1], 0, 0]  # a sample that was not read since the change is not compared when it comes again


def test_a_short_pass_is_read_whole_and_nothing_is_said(monkeypatch):
    fingerprints, labels = Timed(monkeypatch), torch.zeros(2000, dtype=torch.int64)
    assert fingerprints.epoch(np.arange(2000), labels) is None
    found = fingerprints.epoch(np.arange(2000), labels)
    assert found == {"targets_compared": 2000, "targets_changed": 0, "inputs_compared": 2000, "inputs_changed": 0}


def test_after_a_pass_in_part_a_whole_one_is_compared_in_part_and_the_next_one_whole(monkeypatch):
    fingerprints, labels = Timed(monkeypatch), torch.zeros(40_000, dtype=torch.int64)
    monkeypatch.setattr("tb_losslens.record.signals.fingerprints.MOST_LEFT_OUT", 0)
    first = fingerprints.epoch(np.arange(40_000), labels)
    assert 0 < first["fingerprinted_batches"] < 10_000
    second, third = (fingerprints.epoch(np.arange(400), labels) for _ in range(2))
    assert second["fingerprinted_batches"] == 100
    assert second["targets_compared"] == third["targets_compared"] == 400
    assert "fingerprinted_batches" not in third


def test_a_sample_that_was_not_in_the_last_pass_is_remembered_and_not_compared():
    table = FingerprintTable()
    for number in range(600):
        table.next_pass(newest=number > 0)
        table.reset()
        ids = np.array([0, 1 + number % 2])
        table.add(ids, np.full(2, number, np.uint32))
        assert (table.compared, table.changed) == ((1, 1) if number else (0, 0))
    table.next_pass(newest=False)
    table.reset()
    table.add(np.arange(3), np.array([599, 598, 599], np.uint32))
    assert (table.compared, table.changed) == (3, 0)
