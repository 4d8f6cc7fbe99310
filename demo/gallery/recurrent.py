"""Faults of recurrent networks: a state that begins anew, and one that grows with each symbol."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from demo.gallery.loop import Loop, Truth
from tb_losslens import LossLensWriter

_KEYS, _STREAMS, _WINDOW, _BATCHES, _HIDDEN, _EPOCHS = 4, 32, 8, 40, 48, 24
"""With 12 epochs some seeds do not get to remember the key, and lose nothing when the state is set back."""


class _Remembers(nn.Module):
    """Adds a key, which is shown now and then, to each symbol; what it remembers of the key is its state."""

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.symbols, self.keys = nn.Embedding(_KEYS, 16), nn.Embedding(_KEYS + 1, 16)
        self.net, self.head = kind(32, _HIDDEN), nn.Linear(_HIDDEN, _KEYS)

    def forward(self, symbols: Tensor, shown: Tensor, state: object) -> tuple[Tensor, object]:
        output, state = self.net(torch.cat([self.symbols(symbols), self.keys(shown)], dim=2), state)
        return self.head(output), state


class StateSetBack(Loop):
    """The state of a stateful network is set back where a pass begins: the key is forgotten."""

    TRUTH = Truth(("hidden_state_reset",), may=("repeated_order", "memorization"))
    ON = ("lstm", "transformer")  # an LSTM, and in the place of the other kind a GRU

    def make_model(self) -> nn.Module:
        return _Remembers(nn.LSTM if self.kind == "lstm" else nn.GRU)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=0.01)

    def text(self) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols, the key where it is shown (else one more than all), and their sum; each of shape (length, streams)."""
        length = _WINDOW * _BATCHES
        symbols, drawn = torch.randint(0, _KEYS, (length, _STREAMS)), torch.randint(0, _KEYS, (length, _STREAMS))
        shown = torch.rand(length, _STREAMS) < 1 / 60
        keys, key = torch.empty_like(symbols), drawn[0]
        for t in range(length):
            key = torch.where(shown[t], drawn[t], key)
            keys[t] = key
        return symbols, torch.where(shown, drawn, _KEYS), (symbols + keys) % _KEYS

    def record(self, writer: LossLensWriter) -> None:
        writer.watch(self.model, self.optimizer, criterion=self.criterion)
        symbols, shown, sums = self.text()
        for epoch in range(_EPOCHS):
            writer.start_epoch(epoch)
            state: object = None
            for i in range(_BATCHES):
                piece = slice(i * _WINDOW, (i + 1) * _WINDOW)
                output, new = self.model(symbols[piece], shown[piece], state)
                loss = self.criterion(output.flatten(0, 1), sums[piece].flatten())
                self.update(loss)
                writer.log_batch(loss, hidden=None if state is None else _norm(state))
                state = tuple(part.detach() for part in new) if isinstance(new, tuple) else new.detach()


def _norm(state: object) -> Tensor:
    parts = state if isinstance(state, tuple) else (state,)
    return torch.cat([part.flatten() for part in parts]).norm()


class _Deep(nn.Module):
    """Twelve linear layers in a row, each with the same gain."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(20, 64), nn.Linear(64, 6)
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(12))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, gain=gain)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = torch.relu(layer(x))
        out: Tensor = self.last(x)
        return out


class LargeLayers(Loop):
    """A deep network whose layers each make a signal, and its gradient, half as large again: its loss begins far too high."""

    TRUTH = Truth(("bad_init", "exploding_gradients"), may=("lr_too_high",))
    ON = ("mlp", "sgd")

    def make_model(self) -> nn.Module:
        return _Deep(2.2)
