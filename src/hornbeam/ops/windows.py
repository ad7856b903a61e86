"""What operations over windows share: their arguments per spatial axis, padding, and the order of the axes."""

from __future__ import annotations

from typing import Any

from hornbeam.base.spec import Shape, as_dim
from hornbeam.errors import ShapeError

Pairs = tuple[tuple[int, int], ...]

PADDINGS = ("valid", "same", "causal")
FORMATS = ("channels_last", "channels_first")


def spatial_rank(name: str, x: Any) -> int:
    """How many spatial axes a (batch, …, channels) tensor has. Raises ShapeError unless 1 to 3."""
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        raise ShapeError(f"{name}: inputs need a batch, 1 to 3 spatial axes and channels, got shape {tuple(x.shape)}.")
    return rank


def per_axis(name: str, what: str, value: Any, rank: int) -> Shape:
    """``value`` as one positive int for each spatial axis; a single int serves them all."""
    try:
        many = tuple(map(as_dim, value)) if isinstance(value, (tuple, list)) else (as_dim(value),) * rank
    except TypeError as error:
        raise ShapeError(f"{name}: {what}: {error}.") from None
    many = many * rank if len(many) == 1 else many
    if len(many) != rank or min(many) < 1:
        raise ShapeError(f"{name}: {what} must be an int of at least 1, or {rank} of them, got {value!r}.")
    return many


def reach(window: Shape, dilation: Shape) -> Shape:
    """How many elements a dilated window spans."""
    return tuple((w - 1) * d + 1 for w, d in zip(window, dilation, strict=True))


def padding_pairs(name: str, padding: Any, sizes: Shape, spans: Shape, strides: Shape) -> Pairs:
    """``padding`` as (before, after) for each axis: "valid", "same", "causal", or such pairs.

    "same" gives ceil(size / stride) windows, the odd element of padding behind, as in TensorFlow; "causal" lets no
    window see what comes after its last element.
    """
    if not isinstance(padding, str):
        pairs = tuple((as_dim(a), as_dim(b)) for a, b in padding)
        if len(pairs) != len(sizes):
            raise ShapeError(f"{name}: padding must be {len(sizes)} pairs (before, after), got {padding!r}.")
        return pairs
    kind = padding.lower()
    if kind == "valid":
        return ((0, 0),) * len(sizes)
    if kind == "causal":
        return tuple((r - 1, 0) for r in spans)
    if kind != "same":
        raise ShapeError(f"{name}: padding {padding!r} is not one of {', '.join(PADDINGS)}.")
    totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(sizes, spans, strides, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


def check_format(name: str, data_format: str) -> bool:
    """Whether channels come first. Raises ShapeError for an unknown name."""
    if data_format not in FORMATS:
        raise ShapeError(f"{name}: data_format {data_format!r} is not one of {', '.join(FORMATS)}.")
    return data_format == "channels_first"


def channels_to_last(x: Any, first: bool) -> Any:
    return x.transpose((0, *range(2, len(x.shape)), 1)) if first else x


def channels_back(x: Any, first: bool) -> Any:
    return x.transpose((0, len(x.shape) - 1, *range(1, len(x.shape) - 1))) if first else x
