"""Functions with dimensions that are not known, control flow, and what a graph looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import hornbeam as hb
from hornbeam.errors import ExportError, ShapeError
from hornbeam.export import onnx_model
from hornbeam.export.rules.rule import RULES
from hornbeam.ir.primitives.random import uniform
from tests.export.evaluate import kinds, on_reference, on_runtime

ROW = hb.TensorSpec((None, 3))
MATRIX = hb.TensorSpec((None, None))


def values(*shape: int, dtype: Any = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def both(fn: Callable[..., Any], signature: list[Any], *runs: list[np.ndarray], reference: bool = True) -> Any:
    """Export, then compare with ``fn`` itself on arrays of several sizes. ``reference``: whether ONNX's can run it."""
    model = onnx_model(fn, signature)
    for arrays in runs:
        wants = [w.numpy() for w in results(fn(*map(hb.tensor, arrays)))]
        for run in (on_runtime, on_reference) if reference else (on_runtime,):
            for got, want in zip(run(model, arrays), wants, strict=True):
                assert (got.shape, got.dtype) == (want.shape, want.dtype)
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return model


def results(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


# -- dimensions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.reshape((-1,)),
        lambda x: x.reshape((x.shape[1], x.shape[0])),
        lambda x: hb.reshape(x, (1, *x.shape, 1)) * 2,
        lambda x: hb.broadcast_to(hb.sum(x, axis=1, keepdims=True), x.shape),
        lambda x: hb.mean(x, axis=0),
        lambda x: hb.mean(x),
        lambda x: hb.var(x, axis=(0, 1)),
        lambda x: x + hb.arange(x.shape[0], dtype="float32")[:, None],
        lambda x: x + hb.arange(x.shape[0], 0, -1, dtype="float32")[:, None],
        lambda x: hb.tril(x),
        lambda x: x[1:],
        lambda x: x[:-1, ::2],
        lambda x: x[1::2, :-1:2],
        lambda x: x[-1],
        lambda x: hb.concat([x, x], axis=0),
        lambda x: hb.pad(x, [[1, 2], [0, 1]]),
        lambda x: hb.flip(x, 0),
        lambda x: hb.zeros((x.shape[0] * 2, x.shape[1] + 1)),
        lambda x: hb.sort(x, axis=0),
        lambda x: hb.cumsum(x, axis=0),
        lambda x: hb.take(x, hb.tensor([0, -1, 1]), axis=0),
        lambda x: hb.stack([x, x * 2], axis=1).reshape((-1, x.shape[1])),
        lambda x: x @ hb.transpose(x),
        lambda x: hb.nn.softmax(x, axis=0),
        lambda x: hb.einsum("ij,kj->ik", x, x),
    ],
)
def test_any_size_of_two_dimensions(fn):
    both(fn, [MATRIX], *([values(n, m)] for n, m in ((2, 3), (5, 4), (3, 1))))


def test_symbols_have_the_names_of_the_signature():
    model = onnx_model(lambda x: hb.concat([x, x], axis=1), [hb.TensorSpec(("batch", "time", 4))])
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output]
    assert shapes == [["batch", "2*time", 4]]


def test_dimensions_are_different_ones_unless_the_function_needs_them_equal():
    both(lambda x, y: x @ hb.transpose(y), [ROW, ROW], [values(2, 3), values(5, 3)], [values(1, 3), values(4, 3)])
    both(lambda x, y: x + y, [ROW, ROW], [values(2, 3), values(2, 3)], [values(5, 3), values(5, 3)])


def test_one_size_of_a_dimension_that_only_one_size_fits():
    with pytest.raises(ShapeError, match="840 or 1261 for batch"):
        onnx_model(lambda x: x.reshape((-1, 4)), [ROW])


def test_what_depends_on_a_size_is_refused():
    def looping(x):
        return sum(x[i] for i in range(x.shape[0]))

    with pytest.raises(ExportError, match=r"leaves open(.|\n)*input signature") as caught:
        onnx_model(looping, [ROW])
    assert len(str(caught.value)) < 800
    both(looping, [hb.TensorSpec((4, 3))], [values(4, 3)])

    with pytest.raises(ExportError, match="leaves open"):
        onnx_model(lambda x: x * hb.tensor(np.random.default_rng(0).normal(size=x.shape).astype("float32")), [ROW])


@pytest.mark.parametrize("strides", [2, 3])
def test_padding_that_depends_on_a_size_is_refused(strides):
    kernel = hb.ones((3, 2, 2))

    def conv(x):
        return hb.nn.conv(x, kernel, strides=strides, padding="same")

    with pytest.raises(ExportError, match=r"padding of a conv depends(.|\n)*padding='valid'"):
        onnx_model(conv, [hb.TensorSpec((1, None, 2))])
    both(conv, [hb.TensorSpec((None, 8, 2))], [values(2, 8, 2)])


# -- structure ---------------------------------------------------------------------------------------------------------


def test_a_dense_layer_is_three_operators():
    kernel, bias = hb.Variable(values(3, 4), name="kernel"), hb.Variable(values(4), name="bias")
    model = both(lambda x: hb.nn.relu(x @ kernel + bias), [ROW], [values(5, 3)])
    assert kinds(model) == ["MatMul", "Add", "Relu"]
    assert [t.name for t in model.graph.initializer] == ["kernel", "bias"]
    assert model.producer_name == "hornbeam" and model.opset_import[0].version == 22


def test_nothing_is_computed_that_nobody_reads():
    def fn(x):
        hb.exp(x)
        return x * 2

    assert kinds(onnx_model(fn, [ROW])) == ["Mul"]


def test_names_of_inputs_and_outputs():
    def fn(x, pair):
        return {"sum": pair["a"] + pair["b"], "parts": [x, x]}

    pair = {"a": hb.TensorSpec((2,)), "b": hb.TensorSpec((2,), "float32", "second")}
    model = onnx_model(fn, [hb.TensorSpec((2,)), pair])
    assert [v.name for v in model.graph.input] == ["input_0", "a", "second"]
    assert [v.name for v in model.graph.output] == ["parts_0", "parts_1", "sum"]
    x, a, b = values(2), values(2) + 1, values(2) + 2
    got = on_runtime(model, [x, a, b])
    np.testing.assert_allclose(got[2], a + b)
    np.testing.assert_array_equal(got[0], x)


def test_variables_are_read_in_the_current_session():
    with hb.Session():
        scale = hb.Variable(2.0, name="scale")
        model = onnx_model(lambda x: x * scale, [ROW])
        scale.assign(5.0)
        later = onnx_model(lambda x: x * scale, [ROW])
    x = values(1, 3)
    np.testing.assert_allclose(on_runtime(model, [x])[0], x * 2)
    np.testing.assert_allclose(on_runtime(later, [x])[0], x * 5)


def test_a_traced_function_brings_its_signature():
    @hb.function(input_signature=[ROW])
    def double(x):
        return x * 2

    model = onnx_model(double)
    assert model.graph.name == "double"
    np.testing.assert_allclose(on_runtime(model, [values(4, 3)])[0], values(4, 3) * 2)
    with pytest.raises(ExportError, match=r"hb.TensorSpec\(\(None, 4\)"):
        onnx_model(lambda x: x)


@pytest.mark.parametrize("opset", [17, 18, 20, 24])
def test_other_opsets(opset):
    kernel, x = hb.tensor(values(3, 2, 4)), values(2, 9, 2)

    def fn(x):
        return hb.max(hb.nn.average_pool(hb.nn.conv(x, kernel), 2), axis=1)

    model = onnx_model(fn, [hb.TensorSpec((None, 9, 2))], opset=opset)
    assert model.opset_import[0].version == opset
    np.testing.assert_allclose(on_runtime(model, [x])[0], fn(hb.tensor(x)).numpy(), rtol=1e-5, atol=1e-5)


def test_what_an_old_opset_does_not_have():
    with pytest.raises(ExportError, match="opset 17 of ONNX has no BitwiseAnd yet"):
        onnx_model(lambda x: x & 1, [hb.TensorSpec((3,), "int32")], opset=17)


@pytest.mark.parametrize("opset", [16, 10_000, "22", None])
def test_opsets_that_there_are_not(opset):
    with pytest.raises(ExportError, match="opsets 17 to"):
        onnx_model(lambda x: x, [ROW], opset=opset)


# -- control flow ------------------------------------------------------------------------------------------------------


def test_branches():
    def fn(x):
        scale = hb.sum(x)
        return hb.cond(hb.mean(x) > 0, lambda: x * scale, lambda: x - scale)

    both(fn, [ROW], [np.ones((2, 3), "float32")], [-np.ones((4, 3), "float32")])


def test_one_of_several_branches():
    def fn(i, x):
        return hb.switch(i, [lambda x: x, lambda x: x * 2, lambda x: x * x], x)

    runs = [[np.asarray(i, "int32"), values(2, 3)] for i in (-1, 0, 1, 2, 7)]
    model = both(fn, [hb.TensorSpec((), "int32"), ROW], *runs)
    assert kinds(model).count("If") == 1  # the other is in its branch


def test_a_loop_whose_length_is_found():
    def fn(x):
        return hb.while_loop(lambda i, y: hb.max(y) < 100, lambda i, y: (i + 1, y * 2 + hb.sum(x) * 0), (0, x))

    both(fn, [ROW], [np.ones((2, 3), "float32")], [np.full((1, 3), 200, "float32")])


def test_a_loop_of_at_most_so_many_steps():
    def fn(x):
        return hb.while_loop(lambda y: hb.max(y) < 100, lambda y: (y * 2,), (x,), maximum_iterations=3)

    both(fn, [ROW], [np.ones((2, 3), "float32")])


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_over_a_dimension_of_any_length(reverse):
    weight = hb.Variable(values(3, 3), name="weight")

    def fn(xs):
        def step(carry, x):
            carry = hb.tanh(carry @ weight + x)
            return carry, hb.sum(carry, axis=-1)

        return hb.scan(step, hb.zeros(xs.shape[1:]), xs, reverse=reverse)

    signature = [hb.TensorSpec((None, None, 3))]
    both(fn, signature, [values(4, 2, 3)], [values(7, 1, 3)], reference=not reverse)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_over_nothing_but_a_number_of_steps(reverse):
    def fn(x):
        return hb.scan(lambda c, _: (c * 2, c + 1), x, None, x.shape[0], reverse=reverse)

    both(fn, [ROW], [values(2, 3)], [values(5, 3)], reference=False)  # it concatenates where a loop stacks


def test_a_gradient_rule_in_a_loop_is_left_out():
    @hb.custom_gradient
    def halved(x):
        return x * 0.5, lambda g: g

    both(lambda xs: hb.scan(lambda c, x: (halved(c + x), c), hb.zeros(3), xs), [ROW], [values(4, 3)], [values(2, 3)])


def test_a_function_in_a_function():
    inner = hb.function(lambda x: hb.sum(x, axis=1))
    both(lambda x: inner(x) * 2, [ROW], [values(2, 3)])


# -- what a graph cannot hold ------------------------------------------------------------------------------------------


def test_assigned_variables_are_refused():
    count = hb.Variable(0.0, name="count")

    def fn(x):
        count.assign(count + 1)
        return x

    with pytest.raises(ExportError, match=r"assigns variables \('count'\)"):
        onnx_model(fn, [ROW])


def test_random_numbers_are_refused():
    key = hb.tensor([1, 2], "uint32")
    with pytest.raises(ExportError, match=r"random_bits(.|\n)*test_functions.py"):
        onnx_model(lambda x: x + uniform(key, (3,)), [ROW])


def test_python_in_the_middle_is_refused():
    with pytest.raises(ExportError, match="runs without Python"):
        onnx_model(lambda x: hb.callback(lambda a: a, x, x), [ROW])


def test_what_is_no_tensor_is_refused():
    with pytest.raises(ExportError, match="returns 'text'"):
        onnx_model(lambda x: (x, "text"), [ROW])
    with pytest.raises(ExportError, match=r"no shape and dtype(.|\n)*hb.TensorSpec"):
        onnx_model(lambda x: x, [(3,)])
    with pytest.raises(ExportError, match="how many dimensions"):
        onnx_model(lambda x: x, [hb.TensorSpec(None)])


def test_complex_numbers_are_refused():
    with pytest.raises(ExportError, match="complex"):
        onnx_model(lambda x: x * x, [hb.TensorSpec((3,), "complex64")])


def test_every_model_is_checked(monkeypatch):
    """A rule of ours that makes an invalid graph does not end up in a file."""
    monkeypatch.setitem(RULES, "exp", lambda g, pair, x: g.op("ReduceSum", x, keepdims=0))
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx_model(lambda x: hb.exp(x) + 1, [hb.TensorSpec((2, 3))])
