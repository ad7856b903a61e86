"""What is on disk: one file, or two if the weights are too many; and never half of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import hornbeam as hb
from hornbeam.errors import ExportError
from hornbeam.export import onnx_model, proto
from tests.export.evaluate import on_runtime

SIGNATURE = [hb.TensorSpec((None, 300))]


@pytest.fixture
def layer() -> Any:
    kernel = hb.Variable(np.random.default_rng(0).normal(size=(300, 7)).astype("float32"), name="kernel")
    bias = hb.Variable(np.arange(7.0, dtype="float32"), name="bias")
    return lambda x: x @ kernel + bias


def test_one_file(layer: Any, tmp_path: Any) -> None:
    hb.export_onnx(layer, tmp_path / "layer.onnx", SIGNATURE)
    assert [p.name for p in tmp_path.iterdir()] == ["layer.onnx"]
    assert onnx.load(tmp_path / "layer.onnx") == onnx_model(layer, SIGNATURE)


def test_weights_beyond_the_limit_go_into_a_file_beside_it(layer: Any, tmp_path: Any, monkeypatch: Any) -> None:
    x = np.random.default_rng(1).normal(size=(4, 300)).astype("float32")
    monkeypatch.setattr(proto, "MOST_BYTES", 1000)
    path = tmp_path / "layer.onnx"
    hb.export_onnx(layer, path, SIGNATURE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layer.onnx", "layer.onnx.data"]
    assert path.stat().st_size < 1000 and (tmp_path / "layer.onnx.data").stat().st_size == 300 * 7 * 4
    np.testing.assert_allclose(on_runtime(str(path), [x])[0], layer(hb.tensor(x)).numpy(), rtol=1e-5, atol=1e-5)
    with pytest.raises(ExportError, match=r"8,428 bytes(.|\n)*hb.export_onnx"):
        onnx_model(layer, SIGNATURE)


def test_what_fails_leaves_what_was_there(layer: Any, tmp_path: Any, monkeypatch: Any) -> None:
    path = tmp_path / "layer.onnx"
    path.write_bytes(b"before")

    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(proto.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        hb.export_onnx(layer, path, SIGNATURE)
    assert [p.name for p in tmp_path.iterdir()] == ["layer.onnx"] and path.read_bytes() == b"before"
