import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens.record.batch import Batch
from tb_losslens.record.loader_facts import loader_facts
from tb_losslens.record.passes import Pass
from tb_losslens.record.signals.config_snapshot import _SETTINGS, ConfigSnapshots, Objects, diff, in_words
from tb_losslens.record.signals.config_values import MOST, config_values


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))
        self.memory = nn.LSTM(8, 8, num_layers=2, dropout=0.3, batch_first=True)
        self.look = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(8, 2)
        self.place = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        x = self.body(x)[:, None]
        x, _ = self.memory(x)
        return self.head(self.look(x, x, x)[0][:, 0])


class Trained:
    """A training with its snapshots, an epoch at a time."""

    def __init__(self, optimizer=None, scheduler=None, model=None):
        torch.manual_seed(0)
        self.model = model or Net()
        self.optimizer = (optimizer or (lambda p: torch.optim.AdamW(p, 1e-3)))(self.model.parameters())
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
        self.loader = DataLoader(TensorDataset(torch.randn(24, 4), torch.randint(0, 2, (24,))), 8, shuffle=True)
        self.events = []
        self.fields = []
        self.epoch = 0
        self.owner = self.data = None
        self.snapshots = ConfigSnapshots(self.objects, lambda *event: self.events.append(event))

    def objects(self):
        return Objects([self.model], [self.optimizer], [self.scheduler] if self.scheduler else [], [self.criterion])

    def train(self, epochs=1, within=lambda: None):
        for _ in range(epochs):
            source = Pass(self.owner, "train", loader_facts(self.loader) | ({} if self.data is None else {"data": self.data}))
            for i, (x, y) in enumerate(self.loader):
                self.snapshots.delivered(Batch(source=source), (x, y))
                if not i:
                    self.fields.append(self.snapshots.epoch_begins(self.epoch))
                self.optimizer.zero_grad()
                self.criterion(self.model(x), y).backward()
                self.optimizer.step()
                if self.scheduler:
                    self.scheduler.step()
                within()
            self.fields.append(self.snapshots.epoch_ends(self.epoch))
            self.epoch += 1

    def changes(self):
        return [event[2]["changes"] for event in self.events]


def test_a_snapshot_names_what_a_training_is_configured_with():
    trained = Trained()
    trained.train()
    config = trained.fields[0]["config"]
    assert config["optimizer group 0 weight_decay"] == 0.01
    assert config["optimizer group 0 betas"] == [0.9, 0.999]
    assert config["dropout of body.3"] == 0.1
    assert config["dropout of memory.dropout"] == 0.3
    assert config["dropout of look.dropout"] == 0.2
    assert config["momentum of body.1"] == 0.1
    assert config["trainable parameters in head"] == 18
    assert config["trainable parameters in the model itself"] == 3
    assert config["criterion weight"] == [1.0, 2.0]
    assert config["loader batch_size"] == 8
    assert config["loader dataset_size"] == 24
    assert json.loads(json.dumps(config)) == config


@pytest.mark.parametrize(
    "scheduler",
    [
        None,
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=100),
        lambda o: torch.optim.lr_scheduler.CyclicLR(o, 1e-4, 1e-2, step_size_up=5, cycle_momentum=False),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o, [torch.optim.lr_scheduler.LinearLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]
        ),
    ],
)
def test_a_scheduler_at_work_is_no_change(scheduler):
    trained = Trained(scheduler=scheduler)
    trained.train(epochs=6)
    assert trained.events == []


def test_momentum_of_a_cycle_is_no_change_also_where_the_scheduler_is_not_watched():
    trained = Trained(
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=100),
    )
    trained.objects = lambda: Objects([trained.model], [trained.optimizer])
    trained.snapshots._objects = trained.objects
    trained.train(epochs=4)
    assert trained.optimizer.param_groups[0]["momentum"] != 0.9
    assert trained.events == []


def set_dropout(t):
    t.model.body[3].p = 0.5


def set_inner(t):
    t.model.memory.dropout = 0.0


def set_decay(t):
    t.optimizer.param_groups[0]["weight_decay"] = 0.3


def set_momentum(t):
    t.model.body[1].momentum = 0.01


def freeze(t):
    t.model.head.requires_grad_(False)


def reweight(t):
    t.criterion.weight = torch.tensor([1.0, 9.0])


def smooth(t):
    t.criterion.label_smoothing = 0.1


def favour(t):
    t.criterion.pos_weight = torch.tensor([3.0])


def margin(t):
    t.criterion.gamma = 3.0


def of_a_part(t):
    t.criterion.ce.label_smoothing = 0.1


class Focal(nn.Module):
    """A criterion of the user's own, with a setting of its own and one of the loss that it is made of."""

    def __init__(self):
        super().__init__()
        self.gamma, self.ce = 2.0, nn.CrossEntropyLoss(reduction="none")

    def forward(self, output, target):
        loss = self.ce(output, target)
        return ((1 - (-loss).exp()) ** self.gamma * loss).mean()


def reload(t):
    t.loader = DataLoader(t.loader.dataset, 4, shuffle=False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_dropout, {"dropout of body.3": [0.1, 0.5]}),
        (set_inner, {"dropout of memory.dropout": [0.3, 0.0]}),
        (set_decay, {"optimizer group 0 weight_decay": [0.01, 0.3]}),
        (set_momentum, {"momentum of body.1": [0.1, 0.01]}),
        (freeze, {"trainable parameters in head": [18, 0]}),
        (reweight, {"criterion weight": [[1.0, 2.0], [1.0, 9.0]]}),
        (smooth, {"criterion label_smoothing": [0.0, 0.1]}),
        (
            reload,
            {
                "loader batch_size": [8, 4],
                "loader shuffle": [True, False],
                "loader sampler": ["RandomSampler", "SequentialSampler"],
            },
        ),
    ],
)
def test_what_somebody_changed_between_two_epochs(change, expected):
    trained = Trained()
    trained.train(epochs=2)
    change(trained)
    trained.train(epochs=2)
    assert trained.changes() == [expected]
    kind, text, fields = trained.events[0]
    assert kind == "config_change"
    assert fields["automatic"] is True
    assert fields["when"] == "between epochs"
    assert all(key in text for key in expected)
    # the snapshot comes at the start and with the change, not each epoch
    assert [bool(f) for f in trained.fields] == [True, False, False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("change", "expected"),
    [(margin, {"criterion gamma": [2.0, 3.0]}), (of_a_part, {"criterion ce label_smoothing": [0.0, 0.1]})],
)
def test_what_somebody_changed_in_a_criterion_of_their_own(change, expected):
    trained = Trained()
    trained.criterion = Focal()
    trained.train(epochs=2)
    change(trained)
    trained.train(epochs=2)
    assert trained.changes() == [expected]


def test_a_weight_of_the_positive_class():
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
    before = config_values([], [], criteria=[criterion])
    criterion.pos_weight = torch.tensor([3.0])
    assert diff(before, config_values([], [], criteria=[criterion])) == {"criterion pos_weight": ([2.0], [3.0])}


RUN = frozenset({"foreach", "capturable", "differentiable", "fused"})  # how it is computed, and not what
OTHERS = {"lr": None, "d": "a counter in other optimisers"}


def test_every_setting_of_every_optimizer_of_torch_is_one():
    known = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
    classes = [kind for kind in known if issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer]
    assert len(classes) > 11
    for kind in classes:
        optimizer = kind([nn.Parameter(torch.zeros(2, 2))], lr=0.1)
        missing = set(optimizer.defaults) - RUN - set(OTHERS) - _SETTINGS
        assert not missing, (kind.__name__, missing)


@pytest.mark.parametrize(
    ("owners", "epochs", "events"),
    [
        ("aaaa", [], 0),
        ("aabb", [2], 1),  # another one takes its place
        ("abcd", [], 0),  # built anew for each epoch
        ("aabab", [2, 3, 4], 2),  # by turns: from the third time on it is a schedule
        ("aaabcd", [3], 1),
    ],
)
def test_another_loader_over_the_same_data_is_noted(owners, epochs, events):
    trained, known = Trained(), {}
    for owner in owners:
        trained.owner = known.setdefault(owner, object())
        trained.train()
    assert [list(change) for change in trained.changes()] == [["loader"]] * events
    numbers = [fields["config"].get("loader") if fields else None for fields in trained.fields[::2]]
    assert [epoch for epoch, number in enumerate(numbers) if number and epoch] == epochs


@pytest.mark.parametrize(("numbers", "events"), [([0, 0, 1, 1], 1), ([0, 1, 2, 3], 0)])
def test_another_data_set_of_the_same_size_is_noted_where_it_is_not_built_anew_for_each_epoch(numbers, events):
    trained = Trained()
    for trained.data in numbers:
        trained.train()
    assert trained.changes() == [{"data set": ["TensorDataset 1", "TensorDataset 2"]}] * events


def test_a_change_within_an_epoch_is_told_from_one_between():
    trained = Trained()
    trained.train()
    trained.train(within=lambda: set_decay(trained))
    assert [event[2]["when"] for event in trained.events] == ["within an epoch"]


def test_a_schedule_of_weight_decay_is_not_noted_for_ever_and_a_later_change_is():
    trained = Trained()
    group = trained.optimizer.param_groups[0]
    for epoch in range(8):
        group["weight_decay"] = 0.01 * (epoch + 1)
        trained.train()
    assert len(trained.events) == 2
    trained.train(epochs=3)
    group["weight_decay"] = 0.0
    trained.train()
    assert trained.changes()[-1] == {"optimizer group 0 weight_decay": [0.08, 0.0]}


def test_counters_among_the_settings_of_an_optimizer_are_no_change():
    class Adaptive(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                group["k"] = group.get("k", 0) + 1
                group["d"] = group.get("d", 1e-6) * 1.1

    trained = Trained(lambda p: Adaptive(p, 0.01))
    trained.train(epochs=3)
    assert trained.events == []


def test_an_object_that_comes_later_is_no_change():
    before = config_values([Net()], [])
    model = Net()
    assert diff(before, config_values([model], [torch.optim.SGD(model.parameters(), 0.1)])) == {}


def test_many_modules_are_counted_and_the_size_is_bounded():
    model = nn.Sequential(*[nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.1), nn.BatchNorm1d(1)) for _ in range(300)])
    old = config_values([model], [torch.optim.SGD([{"params": [p]} for p in model.parameters()], 0.1)])
    assert len(old) <= MOST
    old = config_values([model], [])
    assert old["dropout of 300 modules"] == {"0.1": 300}
    for block in model[:100]:
        block[1].p = 0.0
    changes = diff(old, config_values([model], []))
    assert changes == {"dropout of 300 modules": ({"0.1": 300}, {"0": 100, "0.1": 200})}
    assert in_words(changes) == "dropout of 300 modules {'0.1': 300} -> {'0': 100, '0.1': 200}"


def test_the_same_change_of_many_modules_is_one_in_words():
    changes = {f"dropout of {i}": (0.1, 0.0) for i in range(5)} | {"optimizer group 0 eps": (1e-8, 1e-6)}
    assert in_words(changes) == "dropout of 5 modules 0.1 -> 0, optimizer group 0 eps 1e-08 -> 1e-06"


def test_nothing_is_watched():
    snapshots = ConfigSnapshots(Objects, lambda *event: pytest.fail(str(event)))
    assert snapshots.epoch_begins(0) is None
    assert snapshots.epoch_ends(0) is None
