"""Images taken apart into patches and put together again, and pixels exchanged for channels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from hornbeam.base.spec import Shape, as_dim
from hornbeam.errors import ShapeError
from hornbeam.ir.primitives.arith import scalar
from hornbeam.ir.primitives.movement import CONCAT, PAD, SLICE
from hornbeam.ops.op import op
from hornbeam.ops.windows import check_format, per_axis, reach
from hornbeam.runtime.tensor import as_tensor


def _geometry(
    name: str, sizes: Shape, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Shape, Shape, Shape, Shape, Shape]:
    """Window, dilation, padding and stride for each of two axes, and how many windows there are."""
    window, spread, steps = (
        per_axis(name, what, value, 2)
        for what, value in (("kernel_size", kernel_size), ("dilation", dilation), ("stride", stride))
    )
    pad = tuple(map(as_dim, padding)) if isinstance(padding, (tuple, list)) else (as_dim(padding),) * 2
    if len(pad) != 2 or min(pad) < 0:
        raise ShapeError(f"{name}: padding must be an int of at least 0, or 2 of them, got {padding!r}.")
    room = [n + 2 * p - r for n, p, r in zip(sizes, pad, reach(window, spread), strict=True)]
    if min(room) < 0:
        raise ShapeError(f"{name}: a window {window} of dilation {spread} does not fit in sizes {sizes}.")
    return window, spread, pad, steps, tuple(r // s + 1 for r, s in zip(room, steps, strict=True))


def _starts(window: Shape, dilation: Shape) -> Iterator[Shape]:
    """Where each position of the window begins in the padded image."""
    for tap in itertools.product(*map(range, window)):
        yield tuple(t * d for t, d in zip(tap, dilation, strict=True))


@op
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """All patches of images (batch, channels, height, width), as columns: (batch, channels * patch size, patches)."""
    x = as_tensor(x)
    if x.ndim != 4:
        raise ShapeError(f"unfold: images must be (batch, channels, height, width), got shape {tuple(x.shape)}.")
    batch, channels = x.shape[:2]
    window, spread, pad, steps, count = _geometry(
        "unfold", tuple(x.shape[2:]), kernel_size, dilation, padding, stride
    )
    if any(pad):
        x = PAD(x, scalar(0, x), before=(0, 0, *pad), after=(0, 0, *pad), between=(0,) * 4)
    parts = []
    for start in _starts(window, spread):
        limits = tuple(a + (n - 1) * s + 1 for a, n, s in zip(start, count, steps, strict=True))
        part = SLICE(x, starts=(0, 0, *start), limits=(batch, channels, *limits), strides=(1, 1, *steps))
        parts.append(part.reshape((batch, channels, 1, math.prod(count))))
    return CONCAT(*parts, axis=2).reshape((batch, channels * len(parts), math.prod(count)))


@op
def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Patches in columns added up at their places in images of ``output_size``: the transpose of ``unfold``."""
    x = as_tensor(x)
    size = per_axis("fold", "output_size", output_size, 2)
    window, spread, pad, steps, count = _geometry("fold", size, kernel_size, dilation, padding, stride)
    taps = math.prod(window)
    if x.ndim != 3 or x.shape[1] % taps or x.shape[2] != math.prod(count):
        raise ShapeError(
            f"fold: {tuple(x.shape)} must be (batch, channels * {taps}, {math.prod(count)}) to make images of {size}."
        )
    batch, channels = x.shape[0], x.shape[1] // taps
    columns = x.reshape((batch, channels, taps, *count))
    padded = tuple(n + 2 * p for n, p in zip(size, pad, strict=True))
    out = None
    for tap, start in enumerate(_starts(window, spread)):
        after = tuple(m - a - ((n - 1) * s + 1) for m, a, n, s in zip(padded, start, count, steps, strict=True))
        between = (0, 0, *(s - 1 for s in steps))
        part = PAD(columns[:, :, tap], scalar(0, x), before=(0, 0, *start), after=(0, 0, *after), between=between)
        out = part if out is None else out + part
    assert out is not None
    return out[:, :, pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]]


def _blocks(name: str, x: Any, block_size: Any, data_format: str) -> tuple[Any, int, bool]:
    x, block = as_tensor(x), as_dim(block_size)
    if x.ndim != 4 or block < 1:
        raise ShapeError(f"{name}: needs images of 4 axes and a block of at least 1, got {tuple(x.shape)} and {block}.")
    return x, block, check_format(name, data_format)


@op
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Each pixel's channels become a block of ``block_size`` by ``block_size`` pixels.

    With channels last, the block's place is the slower part of the channel's number; with channels first, the faster.
    """
    x, b, first = _blocks("depth_to_space", x, block_size, data_format)
    channels = x.shape[1 if first else 3]
    if channels % (b * b):
        raise ShapeError(f"depth_to_space: {channels} channels are not a multiple of block_size² = {b * b}.")
    if first:
        n, c, h, w = x.shape
        x = x.reshape((n, c // (b * b), b, b, h, w)).transpose((0, 1, 4, 2, 5, 3))
        return x.reshape((n, c // (b * b), h * b, w * b))
    n, h, w, c = x.shape
    x = x.reshape((n, h, w, b, b, c // (b * b))).transpose((0, 1, 3, 2, 4, 5))
    return x.reshape((n, h * b, w * b, c // (b * b)))


@op
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Blocks of pixels become channels of one pixel: the inverse of ``depth_to_space``."""
    x, b, first = _blocks("space_to_depth", x, block_size, data_format)
    sizes = tuple(x.shape[2:] if first else x.shape[1:3])
    if any(n % b for n in sizes):
        raise ShapeError(f"space_to_depth: sizes {sizes} are not multiples of block_size {b}.")
    if first:
        n, c, h, w = x.shape
        x = x.reshape((n, c, h // b, b, w // b, b)).transpose((0, 1, 3, 5, 2, 4))
        return x.reshape((n, c * b * b, h // b, w // b))
    n, h, w, c = x.shape
    x = x.reshape((n, h // b, b, w // b, b, c)).transpose((0, 1, 3, 2, 4, 5))
    return x.reshape((n, h // b, w // b, c * b * b))
