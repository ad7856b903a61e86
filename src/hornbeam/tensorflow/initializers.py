"""Initializers: objects that give the first value of a variable for its shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hornbeam.ops import array
from hornbeam.ops import linalg as algebra
from hornbeam.ops import math as maths
from hornbeam.tensorflow import arrays, random
from hornbeam.tensorflow.names import absent, op


class Initializer:
    """``initializer(shape, dtype)`` is a tensor; made by one of the classes below."""

    dtype: Any = "float32"

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None, **options: Any) -> Any:
        return self._value(tuple(shape), dtype or self.dtype)

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class zeros_initializer(Initializer):
    """0."""

    def __init__(self, dtype: Any = "float32") -> None:
        self.dtype = dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return arrays.zeros(shape, dtype)


class ones_initializer(zeros_initializer):
    """1."""

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return arrays.ones(shape, dtype)


class constant_initializer(Initializer):
    """A number, or the elements of an array in order."""

    def __init__(self, value: Any = 0, dtype: Any = "float32", verify_shape: bool = False) -> None:
        self.value, self.dtype = value, dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return arrays.constant(np.asarray(self.value), dtype, shape)


class random_normal_initializer(Initializer):
    """Draws from the normal distribution."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: Any = None, dtype: Any = "float32") -> None:
        self.mean, self.stddev, self.seed, self.dtype = mean, stddev, seed, dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return random.normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class truncated_normal_initializer(random_normal_initializer):
    """Draws from the normal distribution, none further than two deviations from the mean."""

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class random_uniform_initializer(Initializer):
    """Draws from [minval, maxval)."""

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: Any = None, dtype: Any = "float32") -> None:
        self.minval, self.maxval, self.seed, self.dtype = minval, maxval, seed, dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return random.uniform(shape, self.minval, self.maxval, dtype, seed=self.seed)


class variance_scaling_initializer(Initializer):
    """Draws whose variance is ``scale`` over the number of inputs (``fan_in``), outputs (``fan_out``) or their mean."""

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: Any = None,
        dtype: Any = "float32",
    ) -> None:  # fmt: skip
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode is fan_in, fan_out or fan_avg, got {mode!r}.")
        if distribution not in ("normal", "truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                f"distribution is normal, truncated_normal, untruncated_normal or uniform, got {distribution!r}."
            )
        self.scale, self.mode, self.distribution, self.seed, self.dtype = scale, mode, distribution, seed, dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        field = math.prod(shape[:-2])
        fan_in, fan_out = (shape[-2] * field, shape[-1] * field) if len(shape) > 1 else (math.prod(shape),) * 2
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random.uniform(shape, -limit, limit, dtype, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return random.normal(shape, 0.0, math.sqrt(variance), dtype, seed=self.seed)
        # Cutting at two deviations makes the variance smaller by this factor's square.
        return random.truncated_normal(shape, 0.0, math.sqrt(variance) / 0.87962566103423978, dtype, seed=self.seed)


def _scaling(name: str, scale: float, mode: str, distribution: str) -> type[variance_scaling_initializer]:
    def __init__(self: variance_scaling_initializer, seed: Any = None, dtype: Any = "float32") -> None:
        variance_scaling_initializer.__init__(self, scale, mode, distribution, seed, dtype)

    return type(name, (variance_scaling_initializer,), {"__init__": __init__, "__doc__": f"{distribution}, {mode}."})


glorot_uniform_initializer = _scaling("glorot_uniform_initializer", 1.0, "fan_avg", "uniform")
glorot_normal_initializer = _scaling("glorot_normal_initializer", 1.0, "fan_avg", "truncated_normal")
he_uniform_initializer = _scaling("he_uniform_initializer", 2.0, "fan_in", "uniform")
he_normal_initializer = _scaling("he_normal_initializer", 2.0, "fan_in", "truncated_normal")
lecun_uniform_initializer = _scaling("lecun_uniform_initializer", 1.0, "fan_in", "uniform")
lecun_normal_initializer = _scaling("lecun_normal_initializer", 1.0, "fan_in", "truncated_normal")


@op
def _orthogonal(x: Any, rows: int, columns: int) -> Any:
    q, r = algebra.qr(x)
    q = q * maths.sign(array.diagonal(r))
    return q if rows >= columns else q.transpose()


class orthogonal_initializer(Initializer):
    """Matrices with orthonormal rows or columns."""

    def __init__(self, gain: float = 1.0, seed: Any = None, dtype: Any = "float32") -> None:
        self.gain, self.seed, self.dtype = gain, seed, dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        drawn = random.normal((max(rows, columns), min(rows, columns)), dtype=dtype, seed=self.seed)
        return arrays.reshape(self.gain * _orthogonal(drawn, rows, columns), shape)


class identity_initializer(Initializer):
    """A unit matrix."""

    def __init__(self, gain: float = 1.0, dtype: Any = "float32") -> None:
        self.gain, self.dtype = gain, dtype

    def _value(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self.gain * arrays.eye(shape[0], shape[1], dtype=dtype)


# tf.initializers has each without the ending, and in TensorFlow 2's spelling.
_BY_NAME = {
    name.removesuffix("_initializer"): value for name, value in list(globals().items()) if name.endswith("_initializer")
}
globals().update(_BY_NAME)
globals().update({"".join(part.title() for part in name.split("_")): value for name, value in _BY_NAME.items()})
__getattr__ = absent(__name__, globals())
