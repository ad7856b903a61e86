"""``tf.data``: datasets as Python iterators over arrays.

A dataset is a way to make an iterator of elements, which are any structure of NumPy arrays; iterating over it gives
tensors. A transformation is a new dataset around another's iterator. Nothing runs ahead, so ``prefetch`` and
``num_parallel_calls`` change nothing that can be seen.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hornbeam import keras_setup
from hornbeam.base import dtypes, tree
from hornbeam.errors import InvalidArgumentError, explain
from hornbeam.ir.bind import interpreting
from hornbeam.ops import random as draws
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.tensor import Tensor, as_array, concrete
from hornbeam.tensorflow.dtypes import TensorShape
from hornbeam.tensorflow.names import absent, ints

AUTOTUNE = -1
INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2

_builtin_range, _builtin_zip, _builtin_map, _builtin_enumerate = range, zip, map, enumerate


class Dataset:
    """Elements in order, as often as one iterates. Made by the class methods, changed by the others.

    Args:
        start: makes an iterator of elements, structures of arrays.
        count: how many there are, or INFINITE_CARDINALITY or UNKNOWN_CARDINALITY.
    """

    def __init__(self, start: Callable[[], Iterator[Any]], count: int = UNKNOWN_CARDINALITY) -> None:
        self._start, self._count = start, count
        self._spec: Any = None

    # -- where elements come from ------------------------------------------------------------------------------------

    @classmethod
    def from_tensor_slices(cls, tensors: Any, name: str | None = None) -> Dataset:
        """The slices of ``tensors`` along their first axes. Raises InvalidArgumentError if these differ in length."""
        flat, structure = _arrays(tensors)
        lengths = {a.shape[0] if a.ndim else None for a in flat}
        if len(lengths) != 1 or None in lengths:
            shapes = ", ".join(str(a.shape) for a in flat)
            raise InvalidArgumentError(
                explain(f"from_tensor_slices: first axes of one length are needed, got shapes {shapes}.")
            )
        n = int(lengths.pop())  # type: ignore[arg-type]
        return cls(lambda: (tree.unflatten(structure, [a[i] for a in flat]) for i in _builtin_range(n)), n)

    @classmethod
    def from_tensors(cls, tensors: Any, name: str | None = None) -> Dataset:
        """One element."""
        flat, structure = _arrays(tensors)
        return cls(lambda: iter([tree.unflatten(structure, flat)]), 1)

    @classmethod
    def from_generator(
        cls, generator: Callable[..., Any], output_types: Any = None, output_shapes: Any = None, args: Any = None,
        output_signature: Any = None, name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """What ``generator(*args)`` yields, in the dtypes given."""
        spec = output_signature
        if spec is None:
            if output_types is None:
                raise TypeError(explain("from_generator: give output_signature, a tf.TensorSpec for each part."))
            shapes = tree.map(lambda _: None, output_types) if output_shapes is None else output_shapes
            spec = _with_shapes(output_types, shapes)
        kinds, structure = _specs(spec)

        def start() -> Iterator[Any]:
            for element in generator(*(args or ())):
                try:
                    leaves = structure.flatten_up_to(element)
                except ValueError as error:
                    raise InvalidArgumentError(
                        explain(f"from_generator: an element is not as promised: {error}")
                    ) from None
                yield tree.unflatten(
                    structure, [as_array(_plain(x), dtypes.as_dtype(k.dtype)) for x, k in _builtin_zip(leaves, kinds)]
                )

        out = cls(start)
        out._spec = spec
        return out

    @classmethod
    def range(cls, *args: Any, output_type: Any = "int64", name: str | None = None) -> Dataset:
        """The numbers of Python's ``range``, as int64."""
        numbers = _builtin_range(*(int(a) for a in args))
        return cls(lambda: (np.asarray(i, np.dtype(output_type)) for i in numbers), len(numbers))

    @classmethod
    def zip(cls, *args: Any, datasets: Any = None, name: str | None = None) -> Dataset:
        """Tuples of the elements of several datasets, until the shortest ends."""
        parts = tuple(
            datasets
            if datasets is not None
            else args[0]
            if len(args) == 1 and isinstance(args[0], (tuple, list))
            else args
        )
        counts = [d._count for d in parts]
        finite = [c for c in counts if c >= 0]
        unknown = UNKNOWN_CARDINALITY in counts
        return cls(
            lambda: _builtin_zip(*(d._start() for d in parts)),
            UNKNOWN_CARDINALITY if unknown else min(finite) if finite else INFINITE_CARDINALITY,
        )

    # -- transformations ---------------------------------------------------------------------------------------------

    def map(
        self, map_func: Callable[..., Any], num_parallel_calls: Any = None, deterministic: Any = None, name: Any = None
    ) -> Dataset:
        """``map_func`` of each element, of tensors; a tuple's parts are separate arguments."""
        return Dataset(lambda: (_called(map_func, e) for e in self._start()), self._count)

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements for which ``predicate`` holds."""
        return Dataset(lambda: (e for e in self._start() if bool(_called(predicate, e))))

    def flat_map(self, map_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements of the datasets that ``map_func`` makes, one dataset after the other."""

        def start() -> Iterator[Any]:
            for element in self._start():
                yield from _result(map_func, element)._start()

        return Dataset(start)

    def interleave(
        self, map_func: Callable[..., Any], cycle_length: int | None = None, block_length: int = 1,
        num_parallel_calls: Any = None, deterministic: Any = None, name: Any = None,
    ) -> Dataset:  # fmt: skip
        """As ``flat_map``, taking ``block_length`` elements in turn from ``cycle_length`` datasets at a time."""

        def start() -> Iterator[Any]:
            sources = self._start()
            width = cycle_length if cycle_length and cycle_length > 0 else 1
            active = deque(_result(map_func, e)._start() for e in itertools.islice(sources, width))
            while active:
                block = list(itertools.islice(active[0], block_length))
                yield from block
                if len(block) == block_length:
                    active.rotate(-1)
                    continue
                active.popleft()
                active.extendleft(_result(map_func, e)._start() for e in itertools.islice(sources, 1))
                active.rotate(-1)

        return Dataset(start)

    def batch(
        self, batch_size: Any, drop_remainder: bool = False, num_parallel_calls: Any = None, deterministic: Any = None,
        name: Any = None,
    ) -> Dataset:  # fmt: skip
        """Elements stacked, so many at a time. Raises InvalidArgumentError if their shapes differ."""
        (size,) = ints(batch_size)
        if size < 1:
            raise InvalidArgumentError(explain(f"batch: batch_size must be at least 1, got {size}."))

        def start() -> Iterator[Any]:
            elements = self._start()
            while group := list(itertools.islice(elements, size)):
                if len(group) == size or not drop_remainder:
                    yield _stacked(group)

        count = self._count // size if drop_remainder else -(-self._count // size)
        return self._changed(
            start, count if self._count >= 0 else self._count, lambda s: (size if drop_remainder else None, *s)
        )

    def padded_batch(
        self, batch_size: Any, padded_shapes: Any = None, padding_values: Any = None, drop_remainder: bool = False,
        name: Any = None,
    ) -> Dataset:  # fmt: skip
        """As ``batch``, each part padded to the largest shape in its batch, or to ``padded_shapes``."""
        (size,) = ints(batch_size)

        def start() -> Iterator[Any]:
            elements = self._start()
            while group := list(itertools.islice(elements, size)):
                if len(group) == size or not drop_remainder:
                    yield _stacked(_padded(group, padded_shapes, padding_values))

        count = self._count // size if drop_remainder else -(-self._count // size)
        return Dataset(start, count if self._count >= 0 else self._count)

    def unbatch(self, name: str | None = None) -> Dataset:
        """The rows of each element as elements."""
        return self.flat_map(lambda *parts: Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]))

    def shuffle(
        self, buffer_size: Any, seed: int | None = None, reshuffle_each_iteration: bool | None = None, name: Any = None
    ) -> Dataset:
        """Elements drawn from a buffer of the next ``buffer_size``, in another order each time."""
        (size,) = ints(buffer_size)
        if size < 1:
            raise InvalidArgumentError(explain(f"shuffle: buffer_size must be at least 1, got {size}."))
        root = np.random.SeedSequence(_seed_of_session() if seed is None else seed)
        fixed = root.spawn(1)[0]

        def start() -> Iterator[Any]:
            draw = np.random.default_rng(fixed if reshuffle_each_iteration is False else root.spawn(1)[0])
            elements = self._start()
            buffer = list(itertools.islice(elements, size))
            for element in elements:
                i = int(draw.integers(len(buffer)))
                buffer[i], out = element, buffer[i]
                yield out
            draw.shuffle(buffer)  # type: ignore[arg-type]
            yield from buffer

        return self._changed(start, self._count)

    def repeat(self, count: Any = None, name: str | None = None) -> Dataset:
        """All elements ``count`` times; without end if it is None or -1."""
        times = -1 if count is None else ints(count)[0]

        def start() -> Iterator[Any]:
            for _ in itertools.count() if times < 0 else _builtin_range(times):
                empty = True
                for element in self._start():
                    empty = False
                    yield element
                if empty:
                    return

        forever = INFINITE_CARDINALITY if self._count else 0
        return self._changed(start, forever if times < 0 else self._count * times if self._count >= 0 else self._count)

    def take(self, count: Any, name: str | None = None) -> Dataset:
        """The first ``count`` elements; all of them for -1."""
        (n,) = ints(count)
        known = n if self._count == INFINITE_CARDINALITY else min(n, self._count) if self._count >= 0 else self._count
        return self if n < 0 else self._changed(lambda: itertools.islice(self._start(), n), known)

    def skip(self, count: Any, name: str | None = None) -> Dataset:
        """All but the first ``count`` elements; none of them for -1."""
        (n,) = ints(count)
        known = max(self._count - n, 0) if self._count >= 0 else self._count
        return self.take(0) if n < 0 else self._changed(lambda: itertools.islice(self._start(), n, None), known)

    def shard(self, num_shards: Any, index: Any, name: str | None = None) -> Dataset:
        """Every ``num_shards``-th element, from the one at ``index`` on."""
        n, i = ints([num_shards, index])
        known = len(_builtin_range(i, self._count, n)) if self._count >= 0 else self._count
        return self._changed(lambda: itertools.islice(self._start(), i, None, n), known)

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """The elements of this dataset, then those of the other."""
        counts = (self._count, dataset._count)
        known = INFINITE_CARDINALITY if -1 in counts else UNKNOWN_CARDINALITY if -2 in counts else sum(counts)
        return self._changed(lambda: itertools.chain(self._start(), dataset._start()), known)

    def enumerate(self, start: Any = 0, name: str | None = None) -> Dataset:
        """Pairs of a number and an element."""
        return Dataset(
            lambda: ((np.asarray(i, np.int64), e) for i, e in _builtin_enumerate(self._start(), int(start))),
            self._count,
        )

    def window(
        self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False, name: Any = None
    ) -> Dataset:
        """Datasets of ``size`` neighbouring elements, each ``shift`` after the one before."""

        def start() -> Iterator[Any]:
            elements = list(self._start())
            for first in _builtin_range(0, len(elements), shift or size):
                part = elements[first : first + size * stride : stride]
                if len(part) == size or not drop_remainder:
                    yield Dataset(lambda part=part: iter(part), len(part))  # type: ignore[misc]

        return Dataset(start)

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """Elements kept in memory once they were made. Raises InvalidArgumentError for a file."""
        if filename:
            raise InvalidArgumentError(explain("cache: in memory only.", fix="dataset.cache()"))
        kept: list[Any] = []

        def start() -> Iterator[Any]:
            if kept:
                yield from kept[0]
                return
            elements = []
            for element in self._start():
                elements.append(element)
                yield element
            kept[:] = [elements]

        return self._changed(start, self._count)

    def prefetch(self, buffer_size: Any = None, name: str | None = None) -> Dataset:
        """The same elements."""
        return self

    def with_options(self, options: Any, name: str | None = None) -> Dataset:
        """The same elements."""
        return self

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """``transformation_func`` of this dataset."""
        return transformation_func(self)

    def reduce(self, initial_state: Any, reduce_func: Callable[[Any, Any], Any], name: str | None = None) -> Any:
        """``state = reduce_func(state, element)`` over all elements."""
        state = tree.map(_tensor, initial_state)
        for element in self:
            state = reduce_func(state, element)
        return state

    # -- looking at it -----------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        return (e if isinstance(e, Dataset) else tree.map(_tensor, e) for e in self._start())

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Elements as structures of arrays."""
        return (tree.map(np.array, e) for e in self._start())

    def cardinality(self) -> Tensor:
        """How many elements there are, -1 if without end, -2 if not known."""
        return concrete(np.asarray(self._count, np.int64))

    def __len__(self) -> int:
        if self._count < 0:
            raise TypeError(f"the dataset's length is {'infinite' if self._count == -1 else 'not known'}.")
        return self._count

    def __bool__(self) -> bool:
        return True

    @property
    def element_spec(self) -> Any:
        """A ``tf.TensorSpec`` for each part of an element; looks at the first element if it must."""
        if self._spec is None:
            first = next(iter(self._start()), None)
            self._spec = tree.map(lambda a: _spec(np.shape(a), np.asarray(a).dtype), first)
        return self._spec

    def _changed(
        self, start: Callable[[], Iterator[Any]], count: int, shape: Callable[[Any], Any] | None = None
    ) -> Dataset:
        """A dataset with elements like this one's, or with shapes changed as ``shape`` says."""
        out = _Like(start, count)
        out.source, out.shape = self, shape
        return out

    def __repr__(self) -> str:
        return f"<Dataset element_spec={self.element_spec}>"


class _Like(Dataset):
    """A dataset whose element_spec follows from its source's."""

    source: Dataset
    shape: Callable[[Any], Any] | None

    @property
    def element_spec(self) -> Any:
        kinds, structure = _specs(self.source.element_spec)
        change = self.shape or (lambda s: s)
        return tree.unflatten(structure, [k if k.shape is None else _spec(change(k.shape), k.dtype) for k in kinds])


class Options:
    """Options of a dataset, none of which changes what its elements are."""

    def __init__(self) -> None:
        self.experimental_deterministic = None
        self.deterministic = None


class experimental:
    """``tf.data.experimental``."""

    AUTOTUNE = AUTOTUNE
    INFINITE_CARDINALITY = INFINITE_CARDINALITY
    UNKNOWN_CARDINALITY = UNKNOWN_CARDINALITY

    @staticmethod
    def cardinality(dataset: Dataset) -> Tensor:
        """How many elements there are."""
        return dataset.cardinality()


# -- elements --------------------------------------------------------------------------------------------------------


def _plain(x: Any) -> Any:
    return x.numpy() if hasattr(x, "numpy") else x


def _array(x: Any) -> np.ndarray:
    return as_array(_plain(x))


def _tensor(x: Any) -> Tensor:
    return (
        x
        if isinstance(x, Tensor)
        else concrete(np.array(x) if isinstance(x, (np.ndarray, np.generic)) else as_array(x))
    )


def _arrays(structure: Any) -> tuple[list[np.ndarray], Any]:
    """Arrays and their structure. A list is one array, as in TensorFlow; tuples and dicts are structure."""
    flat, definition = tree.flatten(_lists_as_leaves(structure))
    return [_array(x.value if isinstance(x, _Leaf) else x) for x in flat], definition


class _Leaf:
    def __init__(self, value: Any) -> None:
        self.value = value


def _lists_as_leaves(x: Any) -> Any:
    if isinstance(x, list):
        return _Leaf(x)
    if isinstance(x, dict):
        return {k: _lists_as_leaves(v) for k, v in x.items()}
    if isinstance(x, tuple):
        parts = [_lists_as_leaves(v) for v in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    return x


def _result(fn: Callable[..., Any], element: Any) -> Any:
    """``fn`` of an element as tensors, run eagerly wherever the dataset is iterated over."""
    with interpreting(EAGER):
        if isinstance(element, Dataset):
            return fn(element)
        tensors = tree.map(_tensor, element)
        return fn(*tensors) if type(element) is tuple else fn(tensors)


def _called(fn: Callable[..., Any], element: Any) -> Any:
    """``_result`` as a structure of arrays."""
    flat, definition = _arrays(_result(fn, element))
    return tree.unflatten(definition, flat)


def _stacked(group: list[Any]) -> Any:
    try:
        return tree.map(lambda *parts: np.stack(parts), *group)
    except ValueError as error:
        raise InvalidArgumentError(
            explain(f"batch: elements cannot be stacked: {error}.", fix="dataset.padded_batch(…)")
        ) from None


def _padded(group: list[Any], shapes: Any, values: Any) -> list[Any]:
    flat = [tree.leaves(e) for e in group]
    definition = tree.flatten(group[0])[1]
    count = len(flat[0])
    wanted = [None] * count if shapes is None else _shape_leaves(shapes, count)
    fills = [0] * count if values is None else tree.leaves(values)
    fills = fills * count if len(fills) == 1 else fills
    for i in _builtin_range(count):
        largest = [max(dims) for dims in _builtin_zip(*(e[i].shape for e in flat))]
        given = wanted[i] or [None] * len(largest)
        target = [n if d is None or d == -1 else d for d, n in _builtin_zip(given, largest)]
        for e in flat:
            pairs = [(0, t - n) for t, n in _builtin_zip(target, e[i].shape)]
            e[i] = np.pad(e[i], pairs, constant_values=_plain(fills[i])) if pairs else e[i]
    return [tree.unflatten(definition, e) for e in flat]


def _shape_leaves(shapes: Any, count: int) -> list[Any]:
    """A shape for each part: lists and TensorShapes are shapes, and so is a tuple of numbers."""
    if isinstance(shapes, (list, TensorShape)) or (
        isinstance(shapes, tuple) and all(d is None or isinstance(d, int) for d in shapes)
    ):
        if count == 1 or not shapes or not isinstance(shapes[0], (list, tuple)):
            return [shapes] * count
    parts = shapes.values() if isinstance(shapes, dict) else shapes
    return [s for part in parts for s in _shape_leaves(part, 1)]


def _spec(shape: Any, dtype: Any) -> TensorSpec:
    return TensorSpec(None if shape is None else TensorShape(shape), dtypes.as_dtype(dtype))


def _specs(spec: Any) -> tuple[list[TensorSpec], Any]:
    """TensorSpecs and their structure; a TensorSpec is a tuple too, but a leaf here."""
    if isinstance(spec, TensorSpec):
        return [spec], tree.flatten(0)[1]
    boxed = tree.flatten(_boxed(spec))
    return [leaf.value for leaf in boxed[0]], boxed[1]


def _boxed(spec: Any) -> Any:
    if isinstance(spec, TensorSpec):
        return _Leaf(spec)
    if isinstance(spec, dict):
        return {k: _boxed(v) for k, v in spec.items()}
    return tuple(_boxed(s) for s in spec)


def _with_shapes(types: Any, shapes: Any) -> Any:
    if isinstance(types, dict):
        return {k: _with_shapes(t, shapes[k] if shapes else None) for k, t in types.items()}
    if isinstance(types, tuple):
        return tuple(_with_shapes(t, s) for t, s in _builtin_zip(types, shapes or (None,) * len(types)))
    return _spec(shapes, types)


def _seed_of_session() -> int:
    with interpreting(EAGER):
        return int(draws.randint((), 0, 2**31 - 1))


# -- Keras -----------------------------------------------------------------------------------------------------------


def _teach_keras(data_adapters: Any) -> None:
    """Let ``fit``, ``evaluate`` and ``predict`` take our datasets: Keras knows TensorFlow's by their module's name."""
    get = data_adapters.get_data_adapter

    class DatasetAdapter(data_adapters.data_adapter.DataAdapter):
        """Batches of a dataset, for Keras."""

        def __init__(self, dataset: Dataset) -> None:
            self._dataset = dataset

        def get_numpy_iterator(self) -> Iterator[Any]:
            return self._dataset.as_numpy_iterator()

        @property
        def num_batches(self) -> int | None:
            return None if self._dataset._count < 0 else self._dataset._count

        @property
        def batch_size(self) -> int | None:
            return None

        has_partial_batch = partial_batch_size = None

    def get_data_adapter(x: Any, y: Any = None, sample_weight: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Dataset):
            return get(x, y, sample_weight, *args, **kwargs)
        for name, given in (("y", y), ("sample_weight", sample_weight)):
            if given is not None:
                data_adapters.raise_unsupported_arg(name, f"`{name}`", "tf.data.Dataset")
        weights = kwargs.get("class_weight")
        return DatasetAdapter(x if weights is None else _weighted(x, weights))

    data_adapters.get_data_adapter = get_data_adapter


def _weighted(dataset: Dataset, class_weight: dict[int, float]) -> Dataset:
    """Pairs (x, y) with the weight of each label's class as a third part."""

    def weigh(x: Any, y: Any) -> Any:
        classes = np.asarray(y)
        classes = (
            classes.argmax(-1) if classes.ndim > 1 and classes.shape[-1] > 1 else classes.reshape(classes.shape[:1])
        )
        return x, y, np.asarray([class_weight.get(int(c), 1.0) for c in np.rint(classes)], np.float32)

    return dataset.map(weigh)


keras_setup.after_import("keras.src.trainers.data_adapters", _teach_keras)
__getattr__ = absent(__name__, globals())
