"""Models that generate as keras-hub's do: their step is compiled, and stays plain Python when they run eagerly."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras
from hornbeam.keras_generation import compile_generation

LENGTH = 6


class CausalLM(keras.Model):
    """Each token is the one before it plus one, and keras-hub's way to make the function that generates."""

    def __init__(self):
        super().__init__()
        self.step = self.add_weight(shape=(), dtype="int32", initializer="ones", trainable=False)
        self.generate_function, self.calls = None, 0

    def make_generate_function(self):
        if self.generate_function is None:
            self.generate_function = self.generate_step
        return self.generate_function

    def generate_step(self, inputs, stop_token_ids=None):
        self.calls += 1
        ids, ops = inputs["token_ids"], keras.ops
        start = ops.min(ops.sum(ops.cast(inputs["padding_mask"], "int32"), axis=1))

        def again(ids, index):
            if stop_token_ids is None:
                return True
            return ops.logical_not(ops.all(ops.any(ops.equal(ids, stop_token_ids[0]), axis=1)))

        def body(ids, index):
            return ops.slice_update(ids, [0, index], ids[:, index - 1][:, None] + self.step), index + 1

        return {"token_ids": ops.while_loop(again, body, (ids, start), LENGTH - start)[0]}


module = ModuleType("causal_lm")
module.CausalLM = CausalLM
compile_generation(module)


def prompt(*rows):
    ids = np.zeros((len(rows), LENGTH), "int32")
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return {"token_ids": ids, "padding_mask": ids != 0}


@pytest.mark.parametrize("eagerly", [False, True])
def test_generation(eagerly):
    model = CausalLM()
    model.compile(run_eagerly=eagerly)
    generate = model.make_generate_function()
    assert isinstance(generate, hb.Function) is not eagerly
    assert generate is model.make_generate_function()
    for _ in range(3):
        ids = generate(prompt([1, 2], [7, 8]))["token_ids"]
        assert keras.ops.convert_to_numpy(ids).tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    assert model.calls == (3 if eagerly else 1)
    stopped = generate(prompt([1, 2], [3, 4]), stop_token_ids=[5])["token_ids"]
    assert keras.ops.convert_to_numpy(stopped).tolist() == [[1, 2, 3, 4, 5, 0], [3, 4, 5, 6, 7, 0]]


def test_weights_that_change_are_seen():
    model = CausalLM()
    model.compile()
    for step in (1, 3):
        model.step.assign(step)
        ids = model.make_generate_function()(prompt([1, 2]))["token_ids"]
        assert keras.ops.convert_to_numpy(ids)[0, 2:].tolist() == [2 + step * i for i in range(1, 5)]
