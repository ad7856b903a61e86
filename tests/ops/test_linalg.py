"""Linear algebra and signals against NumPy, a few gradients against finite differences."""

import numpy as np
import pytest

import hornbeam.ops.linalg as linalg
import hornbeam.ops.signal as signal
from hornbeam.errors import ShapeError
from hornbeam.runtime.function import function
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import as_tensor

rng = np.random.default_rng(0)
A = rng.normal(size=(2, 4, 4))
B = rng.normal(size=(2, 4, 3))
TALL, WIDE = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 3, 5))
POSITIVE = A @ np.swapaxes(A, -1, -2) + np.eye(4)
LOW = np.outer(np.arange(1.0, 5), np.arange(1.0, 4))  # rank 1
LOWER = np.tril(A) + 3 * np.eye(4)


def expm(a):
    out = term = np.eye(a.shape[-1])
    for i in range(1, 60):
        term = term @ a / i
        out = out + term
    return out


CASES = [
    (linalg.cholesky, (POSITIVE,), np.linalg.cholesky),
    (lambda a: linalg.cholesky(a, upper=True), (POSITIVE,), lambda a: np.swapaxes(np.linalg.cholesky(a), -1, -2)),
    (linalg.cholesky_inverse, (np.linalg.cholesky(POSITIVE),), lambda _: np.linalg.inv(POSITIVE)),
    (linalg.det, (A,), np.linalg.det),
    (linalg.slogdet, (A,), lambda a: tuple(np.linalg.slogdet(a))),
    (linalg.logdet, (POSITIVE,), lambda a: np.linalg.slogdet(a)[1]),
    (linalg.inv, (A,), np.linalg.inv),
    (linalg.solve, (A, B), np.linalg.solve),
    (linalg.solve, (A[0], B[0, :, 0]), np.linalg.solve),
    (linalg.solve, (A[0], B), np.linalg.solve),
    (lambda a, b: linalg.solve_triangular(a, b, lower=True), (LOWER, B), np.linalg.solve),
    (
        lambda a, b: linalg.solve_triangular(a, b, lower=True, transpose=True),
        (LOWER, B),
        lambda a, b: np.linalg.solve(np.swapaxes(a, -1, -2), b),
    ),
    (linalg.eigvalsh, (POSITIVE,), np.linalg.eigvalsh),
    (linalg.svdvals, (TALL,), lambda x: np.linalg.svd(x, compute_uv=False)),
    (linalg.pinv, (TALL,), np.linalg.pinv),
    (linalg.pinv, (LOW,), np.linalg.pinv),
    (lambda a, b: linalg.lstsq(a, b), (TALL[0], B[0, :, :2].repeat(2, 0)[:5]), lambda a, b: np.linalg.lstsq(a, b)[0]),
    (linalg.lstsq, (LOW, np.arange(4.0)), lambda a, b: np.linalg.lstsq(a, b)[0]),
    (linalg.matrix_rank, (LOW,), np.linalg.matrix_rank),
    (linalg.matrix_rank, (TALL,), np.linalg.matrix_rank),
    (lambda a: linalg.matrix_power(a, 5), (A,), lambda a: np.linalg.matrix_power(a, 5)),
    (lambda a: linalg.matrix_power(a, -3), (A,), lambda a: np.linalg.matrix_power(a, -3)),
    (lambda a: linalg.matrix_power(a, 0), (A,), lambda a: np.linalg.matrix_power(a, 0)),
    (linalg.expm, (3 * A,), lambda a: np.stack([expm(x) for x in a])),
    (linalg.cdist, (TALL, B.reshape(2, 4, 3)), lambda x, y: np.linalg.norm(x[:, :, None] - y[:, None], axis=-1)),
    (signal.fft, (A + 1j * A[::-1],), np.fft.fft),
    (signal.ifft, (A + 1j * A[::-1],), np.fft.ifft),
    (signal.fft2, (A + 1j * A[::-1],), np.fft.fft2),
    (signal.ifft2, (A + 1j * A[::-1],), np.fft.ifft2),
    *((lambda x, n=n: signal.rfft(x, n), (WIDE,), lambda x, n=n: np.fft.rfft(x, n)) for n in (None, 3, 4, 8)),
    *((lambda x, n=n: signal.irfft(x, n), (WIDE + 1j,), lambda x, n=n: np.fft.irfft(x, n)) for n in (None, 3, 9, 13)),
]


@pytest.mark.parametrize("fn, args, numpy", CASES)
def test_against_numpy(fn, args, numpy):
    for call in (fn, function(fn)):
        got, want = call(*args), numpy(*args)
        for g, w in zip(got, want) if isinstance(want, tuple) else [(got, want)]:
            assert g.shape == np.shape(w)
            np.testing.assert_allclose(g.numpy(), w, rtol=1e-9, atol=1e-9)
    single = fn(*(a.astype("complex64" if np.iscomplexobj(a) else "float32") for a in args))
    for s in single if isinstance(single, tuple) else (single,):
        assert s.dtype.name in ("float32", "complex64", "int32")


VECTORS = [None, 0, 1, 2, 3, 2.5, -1, np.inf, -np.inf]
MATRICES = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order, axis", [(o, 1) for o in VECTORS] + [(o, (0, 2)) for o in MATRICES] + [("fro", (2, 1))])
def test_norm(order, axis, keepdims):
    got = linalg.norm(TALL, order, axis, keepdims).numpy()
    np.testing.assert_allclose(got, np.linalg.norm(TALL, order, axis, keepdims), rtol=1e-12)
    assert linalg.norm(TALL).shape == () and abs(linalg.norm(TALL).numpy() - np.linalg.norm(TALL)) < 1e-12


def test_decompositions():
    for x in (TALL, WIDE):
        for full in (False, True):
            q, r = (t.numpy() for t in linalg.qr(x, "complete" if full else "reduced"))
            u, s, vh = (t.numpy() for t in linalg.svd(x, full_matrices=full))
            k = s.shape[-1]
            np.testing.assert_allclose(q @ r, x, atol=1e-12)
            np.testing.assert_allclose(u[..., :k] * s[:, None] @ vh[:, :k], x, atol=1e-12)
    w, v = (t.numpy() for t in linalg.eigh(POSITIVE))
    np.testing.assert_allclose(v * w[:, None] @ np.swapaxes(v, -1, -2), POSITIVE, atol=1e-12)
    w, v = (t.numpy() for t in linalg.eig(A))
    np.testing.assert_allclose(A @ v, v * w[:, None], atol=1e-12)
    lu, pivots = (t.numpy() for t in linalg.lu_factor(A[0]))
    rows = np.arange(4)
    for i, p in enumerate(pivots):
        rows[[i, p]] = rows[[p, i]]
    np.testing.assert_allclose((np.tril(lu, -1) + np.eye(4)) @ np.triu(lu), A[0][rows], atol=1e-12)


GRADIENTS = [
    (linalg.expm, A[0]),
    (lambda x: linalg.norm(x, 3, axis=0), TALL[0]),
    (lambda x: linalg.norm(x, "nuc"), TALL[0]),
    (linalg.pinv, TALL[0]),
    (lambda x: linalg.matrix_power(x, -2), A[0]),
    (lambda x: linalg.cholesky_inverse(x), LOWER[0]),
    (lambda x: signal.irfft(signal.rfft(x) * 2, 5), WIDE[0]),
    (lambda x: signal.istft(signal.stft(x, 4, 2), 4, 2), rng.normal(size=(16,))),
    (lambda x: linalg.cdist(x, x[:2]), TALL[0]),
]


@pytest.mark.parametrize("fn, x", GRADIENTS)
def test_gradients(fn, x):
    weights = np.cos(np.arange(fn(x).size)).reshape(fn(x).shape)
    source = as_tensor(x)
    with GradientTape() as tape:
        tape.watch(source)
        out = (fn(source) * weights).sum()
    direction = np.sin(np.arange(x.size) + 1).reshape(x.shape)
    h = 1e-6
    slope = ((fn(x + h * direction) - fn(x - h * direction)).numpy() * weights).sum() / (2 * h)
    assert abs((tape.gradient(out, source).numpy() * direction).sum() - slope) < 1e-5 * max(1, abs(slope))


def test_gradients_at_zero():
    source = as_tensor(np.zeros((3, 2)))
    with GradientTape(persistent=True) as tape:
        tape.watch(source)
        length, apart = linalg.norm(source), linalg.cdist(source, source)
    assert np.all(tape.gradient(length, source).numpy() == 0) and np.all(tape.gradient(apart, source).numpy() == 0)
    assert np.all(linalg.expm(np.zeros((2, 2))).numpy() == np.eye(2))


def test_short_time_transform():
    x = rng.normal(size=(2, 64))
    for window, center in (("hann", True), ("hamming", False), (np.ones(8), True)):
        there = signal.stft(x, 8, 2, 16, window, center)
        back = signal.istft(there, 8, 2, 16, None, window, center).numpy()
        inner = slice(16, back.shape[-1] - 16)
        np.testing.assert_allclose(back[:, inner], x[:, : back.shape[-1]][:, inner], atol=1e-12)
        faded = signal.istft(there, 8, 2, 16, None, window, center, exact_ends=False).numpy()
        np.testing.assert_allclose(faded[:, inner], back[:, inner], atol=1e-12)
    frames = signal.frame(x, 8, 3).numpy()
    assert frames.shape == (2, 19, 8) and np.all(frames[1, 4] == x[1, 12:20])
    assert signal.frame(x, 65, 1).shape == (2, 0, 65)
    assert np.all(signal.overlap_add(np.ones((3, 4)), 2).numpy() == [1, 1, 2, 2, 2, 2, 1, 1])


def test_half_precision_and_mistakes():
    for dtype in ("float16", "bfloat16"):
        x = as_tensor(POSITIVE[0], dtype)
        assert linalg.cholesky(x).dtype == dtype and linalg.norm(x).dtype == dtype
    assert np.isnan(linalg.cholesky(-np.eye(2)).numpy()).any()
    for call in (lambda: linalg.det(TALL), lambda: linalg.inv(np.ones(3)), lambda: linalg.solve(A, TALL)):
        with pytest.raises(ShapeError):
            call()
    with pytest.raises(ValueError, match="not one of"):
        linalg.norm(TALL[0], 7, axis=(0, 1))
    with pytest.raises(ValueError, match="Expected one of"):
        linalg.qr(TALL, "raw")
