"""The models of ``tasks`` in PyTorch itself, trained by the loop that one would write there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    def __init__(self, before: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters),
        )  # fmt: skip
        shortcut = (nn.Conv2d(before, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)) if stride > 1 else ()
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Any) -> Any:
        return functional.relu(self.body(x) + self.shortcut(x))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.body = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:
        b, t, d = x.shape
        q, k, v = (
            part.view(b, t, self.heads, d // self.heads).transpose(1, 2)
            for part in self.project(self.before(x)).chunk(3, -1)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(attended.transpose(1, 2).reshape(b, t, d))
        return x + self.body(self.between(x))


class Transformer(nn.Module):
    def __init__(self, s: Any) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(s.words, s.width), nn.Parameter(torch.randn(s.length, s.width) * 0.05)
        self.layers = nn.Sequential(*[Layer(s.width, s.heads) for _ in range(s.layers)])
        self.last = nn.Sequential(nn.LayerNorm(s.width), nn.Linear(s.width, s.words))

    def forward(self, x: Any) -> Any:
        return self.last(self.layers(self.words(x) + self.positions))


class Lstm(nn.Module):
    def __init__(self, s: Any) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(s.features, s.units, batch_first=True), nn.Linear(s.units, s.classes)

    def forward(self, x: Any) -> Any:
        return self.last(self.lstm(x)[0][:, -1])


def mlp(s: Any) -> Any:
    hidden = nn.Linear(s.features, s.hidden), nn.ReLU(), nn.Linear(s.hidden, s.hidden), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(s.hidden, s.classes))


def cnn(s: Any) -> Any:
    last = ((s.image - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(1, s.filters, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(s.filters, 2 * s.filters, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(last * last * 2 * s.filters, s.classes),
    )  # fmt: skip


def resnet(s: Any) -> Any:
    layers: list[Any] = [nn.Conv2d(3, s.filters, 3, 1, 1, bias=False), nn.BatchNorm2d(s.filters), nn.ReLU()]
    before = s.filters
    for stage in range(3):
        for i in range(s.blocks):
            layers.append(Residual(before, s.filters << stage, 2 if stage and not i else 1))
            before = s.filters << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, s.classes))


MODELS: dict[str, Callable[[Any], Any]] = {
    "article": lambda s: nn.Linear(s.features, s.units),
    "mlp": mlp,
    "cnn": cnn,
    "resnet": resnet,
    "transformer": Transformer,
    "lstm": Lstm,
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "article": lambda p: torch.optim.SGD(p, 0.01, fused=True),
    "resnet": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "lstm": lambda p: torch.optim.RMSprop(p, 0.001),
}


class Trainer:
    """One of the models with its optimizer and data; ``compiled`` puts model and loss through torch.compile."""

    def __init__(self, task: str, s: Any, x: Any, y: Any, compiled: bool) -> None:
        self.batch = s.batch
        self.model = MODELS[task](s)
        make = OPTIMIZERS.get(task, lambda p: torch.optim.Adam(p, 0.001, fused=True))
        self.optimizer = make(self.model.parameters())
        x = x.transpose(0, 3, 1, 2).copy() if task in ("cnn", "resnet") else x  # channels come first here
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y if task == "article" else y.astype("int64"))
        model = self.model

        def loss(x: Any, y: Any) -> Any:
            if task == "article":
                return ((model(x) - y) ** 2).mean()
            return functional.cross_entropy(model(x).flatten(0, -2), y.flatten())

        self.loss = torch.compile(loss) if compiled else loss
        self.forward = torch.compile(model) if compiled else model

    def step(self, x: Any, y: Any) -> Any:
        loss = self.loss(x, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def first(self) -> float:
        return float(self.step(self.x[: self.batch], self.y[: self.batch]))

    def epoch(self) -> float:
        """As ``fit`` does: samples shuffled, the mean loss at the end."""
        self.model.train()
        total = torch.zeros(())
        order = torch.randperm(len(self.x)).split(self.batch)
        for rows in order:
            total += self.step(self.x[rows], self.y[rows])
        return float(total) / len(order)

    def predict(self) -> Any:
        self.model.eval()
        with torch.inference_mode():
            return self.forward(self.x[:1]).numpy()
