"""`tf.data.Dataset`: what each transformation makes of its elements."""

from __future__ import annotations

import numpy as np
import pytest

from hornbeam import tensorflow as tf

D = tf.data.Dataset


def elements(dataset):
    def plain(x):
        return tuple(map(plain, x)) if isinstance(x, tuple) else x if isinstance(x, dict) else np.asarray(x).tolist()

    return [plain(e) for e in dataset.as_numpy_iterator()]


TABLE = [  # dataset, elements, cardinality
    (lambda: D.range(3), [0, 1, 2], 3),
    (lambda: D.range(2, 8, 3), [2, 5], 2),
    (lambda: D.from_tensor_slices([1, 2]), [1, 2], 2),
    (lambda: D.from_tensor_slices(([1, 2], [[3], [4]])), [(1, [3]), (2, [4])], 2),
    (lambda: D.from_tensor_slices({"a": [1, 2]}), [{"a": 1}, {"a": 2}], 2),
    (lambda: D.from_tensors([1, 2]), [[1, 2]], 1),
    (lambda: D.zip((D.range(3), D.range(5, 7))), [(0, 5), (1, 6)], 2),
    (lambda: D.zip(D.range(2), D.range(2).repeat()), [(0, 0), (1, 1)], 2),
    (lambda: D.range(3).map(lambda x: x * x + 1), [1, 2, 5], 3),
    (lambda: D.from_tensor_slices(([1, 2], [3, 4])).map(lambda x, y: (y, x)), [(3, 1), (4, 2)], 2),
    (lambda: D.range(3).map(lambda x: {"a": x}).map(lambda e: e["a"] * 2), [0, 2, 4], 3),
    (lambda: D.range(6).filter(lambda x: x % 2 == 1), [1, 3, 5], -2),
    (lambda: D.range(5).batch(2), [[0, 1], [2, 3], [4]], 3),
    (lambda: D.range(5).batch(2, drop_remainder=True), [[0, 1], [2, 3]], 2),
    (lambda: D.range(4).batch(2).batch(2), [[[0, 1], [2, 3]]], 1),
    (lambda: D.range(3).batch(2).unbatch(), [0, 1, 2], -2),
    (lambda: D.range(2).repeat(2), [0, 1, 0, 1], 4),
    (lambda: D.range(2).repeat().take(5), [0, 1, 0, 1, 0], 5),
    (lambda: D.range(2).repeat(0), [], 0),
    (lambda: D.range(0).repeat(), [], 0),
    (lambda: D.range(5).take(2), [0, 1], 2),
    (lambda: D.range(5).take(-1), [0, 1, 2, 3, 4], 5),
    (lambda: D.range(5).skip(3), [3, 4], 2),
    (lambda: D.range(2).skip(3), [], 0),
    (lambda: D.range(5).shard(2, 1), [1, 3], 2),
    (lambda: D.range(2).concatenate(D.range(5, 6)), [0, 1, 5], 3),
    (lambda: D.range(2).enumerate(7), [(7, 0), (8, 1)], 2),
    (lambda: D.range(3).prefetch(tf.data.AUTOTUNE).cache(), [0, 1, 2], 3),
    (lambda: D.range(2).flat_map(lambda x: D.from_tensors(x).repeat(2)), [0, 0, 1, 1], -2),
    (lambda: D.range(1, 4).interleave(lambda x: D.from_tensors(x).repeat(2), cycle_length=2), [1, 2, 1, 2, 3, 3], -2),
    (lambda: D.range(5).window(3, shift=2, drop_remainder=True).flat_map(lambda w: w.batch(3)), [[0, 1, 2], [2, 3, 4]],
     -2),
    (lambda: D.range(1, 3).map(lambda x: tf.fill([x], x)).padded_batch(2), [[[1, 0], [2, 2]]], 1),
    (lambda: D.from_generator(lambda: iter([1, 2]), output_signature=tf.TensorSpec([], tf.int32)), [1, 2], -2),
    (lambda: D.from_generator(lambda: ((i, [i]) for i in range(2)), output_types=(tf.int32, tf.float32)),
     [(0, [0.0]), (1, [1.0])], -2),
]  # fmt: skip


@pytest.mark.parametrize("make, wanted, cardinality", TABLE)
def test_elements(make, wanted, cardinality):
    dataset = make()
    assert elements(dataset) == wanted == elements(dataset)  # again from the start
    assert int(dataset.cardinality()) == cardinality


def test_elements_are_tensors_of_the_dtype_given():
    (x,) = D.from_tensor_slices(np.zeros((1, 2), np.float64))
    assert isinstance(x, tf.Tensor) and x.dtype == tf.float64 and x.shape == (2,)
    (y,) = D.from_tensor_slices([1.0])
    assert y.dtype == tf.float32


def test_specs():
    pairs = D.from_tensor_slices((np.zeros((5, 3), np.float32), [1, 2, 3, 4, 5]))
    x, y = pairs.shuffle(2).batch(2).prefetch(1).element_spec
    assert (x.shape.as_list(), x.dtype, y.shape.as_list()) == ([None, 3], tf.float32, [None])
    assert pairs.batch(2, drop_remainder=True).element_spec[0].shape.as_list() == [2, 3]


class TestShuffle:
    def test_every_element_once(self):
        assert sorted(elements(D.range(50).shuffle(10, seed=1))) == list(range(50))

    def test_no_further_than_the_buffer(self):
        order = elements(D.range(50).shuffle(10, seed=1))
        assert order != list(range(50)) and all(x < i + 10 for i, x in enumerate(order))

    def test_a_seed_repeats_the_program_not_the_epoch(self):
        one, two = (D.range(20).shuffle(20, seed=1) for _ in range(2))
        first, second = elements(one), elements(one)
        assert first != second and [first, second] == [elements(two), elements(two)]

    def test_one_order_if_asked(self):
        fixed = D.range(20).shuffle(20, seed=1, reshuffle_each_iteration=False)
        assert elements(fixed) == elements(fixed)

    def test_the_global_seed(self):
        def order():
            tf.random.set_seed(3)
            return elements(D.range(20).shuffle(20))

        assert order() == order()


def test_functions_run_eagerly_wherever_the_dataset_is_used():
    dataset = D.range(2).map(lambda x: x + int(x))

    @tf.function
    def total():
        return sum(int(x) for x in dataset)

    assert total() == 2


def test_a_cache_does_not_ask_again():
    calls = []
    dataset = D.range(3).map(lambda x: calls.append(1) or x).cache()
    assert elements(dataset) == elements(dataset) and len(calls) == 3


def test_reduce():
    assert int(D.range(5).reduce(np.int64(0), lambda total, x: total + x)) == 10


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: D.from_tensor_slices(([1, 2], [3])), "first axes of one length"),
        (lambda: D.from_tensor_slices(3), "first axes of one length"),
        (lambda: D.range(3).batch(0), "at least 1"),
        (lambda: D.range(3).shuffle(0), "at least 1"),
        (lambda: elements(D.range(1, 3).map(lambda x: tf.fill([x], x)).batch(2)), "padded_batch"),
        (lambda: D.range(3).cache("file"), "in memory"),
        (lambda: len(D.range(3).repeat()), "infinite"),
    ],
)
def test_errors(make, words):
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError), match=words):
        make()
