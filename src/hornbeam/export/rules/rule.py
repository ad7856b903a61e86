"""The table of rules: row -> what it is in ONNX.

A rule is ``(graph, pair, *values) -> name``, or a list of names for a row of several results. It appends operations
for the row that ``pair`` is an application of; ``pair.attrs`` has its attributes, ``pair.shape`` and ``pair.dtype``
what the result must be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.export.graph import NO_COMPLEX

Rule = Callable[..., Any]

RULES: dict[str, Rule] = {}
"""By the row's name."""

FACTORED = "ONNX has no such factorization"
OF_GRADIENTS = "it appears in gradients only, and an exported graph is for inference"

REFUSED: dict[str, str] = {
    "param": "a parameter is not computed",
    "pick": "the exporter sees through it",
    "call": "the exporter sees through it",
    "random_bits": "ONNX's generators give other numbers, and keep no keys; pass random numbers in as an input",
    "callback": "it calls a Python function, and an exported graph runs without Python",
    "bitcast": "ONNX cannot read the bits of a number as another dtype",
    "nextafter": "ONNX has nothing that finds the neighbour of a number",
    "erf_inv": "ONNX has no inverse of erf",
    "lgamma": "ONNX has no gamma functions",
    "digamma": "ONNX has no gamma functions",
    "real": NO_COMPLEX,
    "imag": NO_COMPLEX,
    "conj": NO_COMPLEX,
    "complex": NO_COMPLEX,
    "fft": NO_COMPLEX,
    "cholesky": FACTORED,
    "triangular_solve": "ONNX has no solver of linear systems",
    "lu": FACTORED,
    "qr": FACTORED,
    "eigh": FACTORED,
    "eig": FACTORED,
    "svd": FACTORED,
    "conv_kernel_grad": OF_GRADIENTS,
    "pool_spread": OF_GRADIENTS,
    "pool_pick": OF_GRADIENTS,
    "pool_unpick": OF_GRADIENTS,
}
"""Rows without a rule, and why."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a function as the rule of these rows."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def direct(kind: str, **attrs: Any) -> Rule:
    """The rule of a row that one operator of ONNX is."""
    return lambda g, pair, *values: g.op(kind, *values, **attrs)
