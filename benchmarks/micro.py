"""Single operations in Hornbeam, NumPy, PyTorch, JAX and TensorFlow themselves, without Keras.

Where a library compiles functions, the compiled one is timed. Every result is waited for. An operation's ``flops`` or
``nbytes`` (what it must read and write) say how near it comes to the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

LIBRARIES = ("hornbeam", "numpy", "torch", "torch-compiled", "jax", "tensorflow")


class Case(NamedTuple):
    """An operation by its name in ``Library``, on arrays of these shapes (integers below ``classes`` if given)."""

    operation: str
    shapes: tuple[tuple[int, ...], ...]
    flops: int = 0
    nbytes: int = 0
    classes: int = 0

    @property
    def name(self) -> str:
        return f"{self.operation} {' '.join('×'.join(map(str, shape)) for shape in self.shapes)}"


class Group(NamedTuple):
    """Cases timed in one process of each library."""

    about: str
    cases: list[Case]
    tiny: list[Case]
    threads: int = 0  # 0: all cores
    libraries: tuple[str, ...] = LIBRARIES

    def sized(self, tiny: bool) -> list[Case]:
        return self.tiny if tiny else self.cases


def matmul(m: int, k: int, n: int) -> Case:
    return Case("matmul", ((m, k), (k, n)), flops=2 * m * k * n)


def rowwise(operation: str, m: int, n: int, arrays: int = 2) -> Case:
    """``arrays``: how many of this shape are read or written."""
    return Case(operation, ((m, n),), nbytes=4 * m * n * arrays)


def embedding(words: int, width: int, rows: int) -> Case:
    return Case("embedding gradient", ((words, width), (rows,)), nbytes=4 * width * (words + rows), classes=words)


SQUARE = [matmul(n, n, n) for n in (64, 128, 256, 512, 1024, 2048)]
ODD = [matmul(*size) for size in ((1, 512, 512), (7, 33, 129), (100, 100, 100), (128, 784, 512), (511, 513, 509),
                                  (1000, 1000, 1000), (2048, 128, 5000), (4096, 64, 64))]  # fmt: skip
SHAPES = [(128, 512), (8192, 4096)]  # in a cache and out of most


def streams(shapes: list[tuple[int, int]]) -> list[Case]:
    return [
        case
        for m, n in shapes
        for case in (
            *(rowwise(operation, m, n) for operation in ("softmax", "layer norm", "chain")),
            *(rowwise(f"sum of {what}", m, n, arrays=1) for what in ("all", "rows", "columns")),
        )
    ]


GROUPS = {
    "matmul": Group("Matrix products on all cores", SQUARE + ODD, [matmul(64, 64, 64), matmul(7, 33, 129)]),
    "matmul-1": Group("Matrix products on one core", SQUARE, [matmul(64, 64, 64)], threads=1),
    "streams": Group(
        "Row passes, reductions, a chain of elementwise operations, the gradient of an embedding",
        [*streams(SHAPES), embedding(5000, 128, 2048), embedding(100_000, 64, 8192)],
        [*streams([(16, 64)]), embedding(50, 8, 32)],
    ),
    "calls": Group(
        "What a call costs: an eager addition of 4 numbers; a function of one; a session's run of a small graph",
        [Case("eager add", ((4,),)), Case("function call", ((4,),)), Case("session run", ((4,),))],
        [Case("eager add", ((4,),)), Case("function call", ((4,),)), Case("session run", ((4,),))],
        libraries=("hornbeam", "numpy", "torch", "jax", "tensorflow"),
    ),
}


class Library:
    """``case`` gives a function without arguments that computes a Case and waits for it, or None if there is none.

    ``formula`` holds what is written alike in all libraries that have NumPy's names.
    """

    module = ""

    def __init__(self) -> None:
        self.np = import_module(self.module)

    def tensor(self, array: Any) -> Any:
        return self.np.asarray(array)

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return f

    def wait(self, x: Any) -> Any:
        return x

    def formula(self, operation: str) -> Callable[..., Any] | None:
        np = self.np
        known: dict[str, Callable[..., Any]] = {
            "matmul": lambda x, y: np.matmul(x, y),
            "softmax": self.softmax,
            "layer norm": self.layer_norm,
            "chain": lambda x: np.tanh(x * x + 0.5) * x - np.exp(-x) * 0.25,
            "sum of all": lambda x: np.sum(x),
            "sum of rows": lambda x: np.sum(x, axis=-1),
            "sum of columns": lambda x: np.sum(x, axis=0),
            "embedding gradient": self.embedding_gradient,
            "function call": lambda x: x + 1.0,
        }
        return known.get(operation)

    def softmax(self, x: Any) -> Any:
        e = self.np.exp(x - self.np.max(x, axis=-1, keepdims=True))
        return e / self.np.sum(e, axis=-1, keepdims=True)

    def layer_norm(self, x: Any) -> Any:
        mean = self.np.mean(x, axis=-1, keepdims=True)
        centred = x - mean
        return centred / self.np.sqrt(self.np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)

    def embedding_gradient(self, table: Any, ids: Any, g: Any) -> Any:
        """Of a lookup of ``ids``, whose result has the gradient ``g``."""
        raise NotImplementedError

    def case(self, case: Case, arrays: list[Any]) -> Callable[[], Any] | None:
        tensors = [self.tensor(a) for a in arrays]
        if case.operation == "eager add":
            (x,) = tensors
            return lambda: self.wait(x + x)
        if case.operation == "session run":
            return self.session(arrays[0])
        f = self.formula(case.operation)
        if f is None:
            return None
        compiled = self.compile(f)
        return lambda: self.wait(compiled(*tensors))

    def session(self, x: Any) -> Callable[[], Any] | None:
        return None

    def limit(self, threads: int) -> None:
        """Use so many threads, if the environment and the affinity of the process have not said it."""


class NumPy(Library):
    module = "numpy"

    def embedding_gradient(self, table: Any, ids: Any, g: Any) -> Any:
        out = self.np.zeros_like(table)
        self.np.add.at(out, ids, g)
        return out


class Hornbeam(Library):
    module = "hornbeam"

    def tensor(self, array: Any) -> Any:
        return self.np.tensor(array)

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return self.np.function(f)

    def softmax(self, x: Any) -> Any:
        return self.np.nn.softmax(x)

    def layer_norm(self, x: Any) -> Any:
        return self.np.nn.layer_normalization(x, epsilon=1e-5)

    def embedding_gradient(self, table: Any, ids: Any, g: Any) -> Any:
        with self.np.GradientTape() as tape:
            tape.watch(table)
            out = self.np.sum(self.np.take(table, ids, axis=0) * g)
        return tape.gradient(out, table)

    def session(self, x: Any) -> Callable[[], Any]:
        return graph_run(import_module("hornbeam.tensorflow.compat.v1"), self.np.Graph(), x)

    def limit(self, threads: int) -> None:
        self.np.current_session().set_threads(threads)


class Torch(Library):
    module = "torch"

    def tensor(self, array: Any) -> Any:
        return self.np.from_numpy(array)

    def softmax(self, x: Any) -> Any:
        return self.np.softmax(x, -1)

    def layer_norm(self, x: Any) -> Any:
        return self.np.nn.functional.layer_norm(x, x.shape[-1:])

    def embedding_gradient(self, table: Any, ids: Any, g: Any) -> Any:
        return self.np.ops.aten.embedding_dense_backward(g, ids, table.shape[0], -1, False)


class CompiledTorch(Torch):
    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return self.np.compile(f, dynamic=False)


class Jax(Library):
    module = "jax.numpy"

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return import_module("jax").jit(f)

    def wait(self, x: Any) -> Any:
        return x.block_until_ready()

    def embedding_gradient(self, table: Any, ids: Any, g: Any) -> Any:
        return self.np.zeros_like(table).at[ids].add(g)


class TensorFlow(Library):
    module = "tensorflow"

    def tensor(self, array: Any) -> Any:
        return self.np.constant(array)

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return self.np.function(f)

    def formula(self, operation: str) -> Callable[..., Any] | None:
        tf = self.np
        known: dict[str, Callable[..., Any]] = {
            "chain": lambda x: tf.tanh(x * x + 0.5) * x - tf.exp(-x) * 0.25,
            "sum of all": lambda x: tf.reduce_sum(x),
            "sum of rows": lambda x: tf.reduce_sum(x, -1),
            "sum of columns": lambda x: tf.reduce_sum(x, 0),
            "matmul": lambda x, y: tf.matmul(x, y),
        }
        return known.get(operation) or super().formula(operation)

    def softmax(self, x: Any) -> Any:
        return self.np.nn.softmax(x)

    def layer_norm(self, x: Any) -> Any:
        mean, variance = self.np.nn.moments(x, -1, keepdims=True)
        return (x - mean) * self.np.math.rsqrt(variance + 1e-5)

    def embedding_gradient(self, table: Any, ids: Any, g: Any) -> Any:
        return self.np.math.unsorted_segment_sum(g, ids, table.shape[0])

    def session(self, x: Any) -> Callable[[], Any]:
        return graph_run(self.np.compat.v1, self.np.Graph(), x)


def graph_run(tf1: Any, graph: Any, x: Any) -> Callable[[], Any]:
    """A session's run of ``x * 2 + 1``, by TensorFlow 1's names."""
    with graph.as_default():
        given = tf1.placeholder("float32", x.shape)
        out = given * 2.0 + 1.0
    session = tf1.Session(graph=graph)
    return lambda: session.run(out, {given: x})


KINDS: dict[str, type[Library]] = {
    "hornbeam": Hornbeam,
    "numpy": NumPy,
    "torch": Torch,
    "torch-compiled": CompiledTorch,
    "jax": Jax,
    "tensorflow": TensorFlow,
}
