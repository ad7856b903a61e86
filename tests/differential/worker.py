"""One backend of the differential test: reads calls from its standard input and writes what came of them.

Runs as ``python -m tests.differential.worker hornbeam`` (or ``jax``), a process for each backend.
"""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.differential.wire import Answer, Greeting, Leaf, Raised, Request, leaves, mapped, receive, send


def answer(request: Request) -> Answer:
    """Make the call, and the others that it asks for."""
    function = request.calls or operation(request.op)
    args, kwargs = request.call.args, request.call.kwargs
    if request.call.tensors:
        args, kwargs = mapped(tensor, (args, kwargs))
    try:
        result = function(*args, **kwargs)
        found = Answer(described(result))
    except Exception as error:
        return Answer(raised(error))
    try:
        if request.reading is not None:
            found.reading = described(request.reading(result, *args, **kwargs))
    except Exception as error:
        found.reading = raised(error)
    try:
        if request.grad:
            found.gradients = gradients(request, function)
    except Exception as error:
        found.gradients = raised(error)
    return found


def operation(name: str) -> Callable:
    from keras import ops, random

    if name.startswith("random."):
        return getattr(random, name.removeprefix("random."))
    if name.startswith("image."):
        return getattr(ops.image, name.removeprefix("image."))
    return getattr(ops, name)


def gradients(request: Request, function: Callable) -> Any:
    """Of the sum of all floating outputs, each times fixed numbers, for each floating array among the arguments.

    They are taken where the arguments are finite: at infinity a formula's gradient is a matter of how it is written.
    """
    from keras import ops

    given = mapped(lambda x: x if floating(x) else tensor(x), (request.call.args, request.call.kwargs))
    places = [np.where(np.isfinite(x), x, 0.75).astype(x.dtype) for x in leaves(given) if floating(x)]
    differentiable = False

    def projected(*variables: Any) -> Any:
        nonlocal differentiable
        remaining = iter(variables)
        args, kwargs = mapped(lambda x: next(remaining) if floating(x) else x, given)
        result = function(*args, **kwargs)
        if request.reading is not None:
            result = request.reading(result, *args, **kwargs)
        total: Any = 0.0
        for out in leaves(result):
            if ops.is_tensor(out) and "float" in str(ops.dtype(out)) and out.shape is not None:
                differentiable = True
                count = int(np.prod(out.shape))
                numbers = np.cos(1.7 * np.arange(count)).reshape(out.shape)
                kind = "float64" if ops.dtype(out) == "float64" else "float32"
                total = total + ops.sum(ops.cast(out, kind) * ops.convert_to_tensor(numbers, kind))
        return ops.convert_to_tensor(total, None if differentiable else "float32")

    if not places:
        return None
    differentiate = ops.grad(projected, argnums=tuple(range(len(places))))
    variables = [tensor(x) for x in places]
    try:
        found = compiled(differentiate)(*variables)
    except Exception:
        found = differentiate(*variables)  # what needs to see values while it runs, as bincount does
    return described(found) if differentiable else None


def compiled(function: Callable) -> Callable:
    """For JAX, as one program: else it compiles one for each operation and shape. Hornbeam's are quick as they are."""
    if "jax" not in sys.modules:
        return function
    import jax

    return jax.jit(function)


def floating(x: Any) -> bool:
    return isinstance(x, np.ndarray) and "float" in x.dtype.name


def tensor(x: Any) -> Any:
    from keras import ops

    return ops.convert_to_tensor(x, dtype=x.dtype.name) if isinstance(x, np.ndarray) else x


def described(result: Any) -> Any:
    from keras import ops

    def leaf(x: Any) -> Leaf:
        if ops.is_tensor(x):
            return Leaf("tensor", np.asarray(ops.convert_to_numpy(x)))
        if isinstance(x, (np.ndarray, np.generic)):
            return Leaf("array", np.asarray(x))
        return Leaf("value", x if isinstance(x, (bool, int, float, complex, str, type(None))) else str(x))

    return mapped(leaf, result)


def raised(error: Exception) -> Raised:
    return Raised(type(error).__name__, str(error))


def main(backend: str) -> None:
    # What libraries print must not come between the messages.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    if backend == "hornbeam":
        from hornbeam import keras
    else:
        import keras
    assert keras.backend.backend() == backend
    send(output, Greeting(keras.__version__))
    with np.errstate(all="ignore"):
        for count in itertools.count(1):
            try:
                request = receive(sys.stdin.buffer)
            except EOFError:
                return
            send(output, answer(request))
            if backend == "jax" and count % 100 == 0:
                import jax

                jax.clear_caches()  # each new shape is compiled, and kept: gigabytes after some thousand calls


if __name__ == "__main__":
    main(sys.argv[1])
