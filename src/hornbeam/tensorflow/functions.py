"""``tf.function``: the runtime's traced functions with TensorFlow's options, and notes on what goes wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.errors import explain
from hornbeam.ops import creation
from hornbeam.runtime.function import Function, TensorSpec

EAGERLY = [False]
"""Whether traced functions run their Python instead (``tf.config.run_functions_eagerly``)."""

NO_OPTIMIZER = (
    "There is no optimizer: this model is not compiled, so Keras made none.\n"
    "  Fix: model.compile(optimizer='sgd', loss='mse') before the call, or make one yourself:\n"
    "       optimizer = tf.keras.optimizers.SGD(); optimizer.apply_gradients(zip(gradients, variables))"
)
OPTIMIZING = ("apply_gradients", "apply", "minimize")


def _note(error: AttributeError) -> str:
    """What a missing attribute means, if it is known: Keras gives a model its ``optimizer`` when it is compiled."""
    asked_none = error.obj is None and error.name in OPTIMIZING
    asked_model = error.name == "optimizer" and hasattr(error.obj, "compile")
    return NO_OPTIMIZER if asked_none or asked_model else ""


class TensorFlowFunction(Function):
    """A traced function; see ``function``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.python_function(*args, **kwargs) if EAGERLY[0] else super().__call__(*args, **kwargs)
        except AttributeError as error:
            note = _note(error)
            if note and note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise

    def experimental_get_tracing_count(self) -> int:
        """How many times the Python function was traced."""
        return self.traces

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """This function for arguments like these alone. A ``tf.TensorSpec`` stands for a tensor of its shape.

        Raises ValueError for a TensorSpec with unknown dimensions.
        """
        args = tuple(_example(a) for a in args)
        kwargs = {name: _example(a) for name, a in kwargs.items()}
        self.program(*args, **kwargs)
        return self


def _example(argument: Any) -> Any:
    if not isinstance(argument, TensorSpec):
        return argument
    if argument.shape is None or None in argument.shape:
        raise ValueError(
            explain(
                f"get_concrete_function: {argument} has unknown dimensions.",
                why="A trace has concrete shapes; the function traces again for another shape by itself.",
                fix="give every dimension, or call the function",
            )
        )
    return creation.zeros(argument.shape, argument.dtype)


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
    experimental_implements: str | None = None,
    experimental_autograph_options: Any = None,
    experimental_attributes: Any = None,
    experimental_relax_shapes: bool | None = None,
    experimental_compile: bool | None = None,
    experimental_follow_type_hints: bool | None = None,
) -> Any:
    """Make ``func`` a traced function; also a decorator, with or without arguments.

    Every trace is compiled, so ``jit_compile`` changes nothing, nor do the experimental hints. Python's ``if`` and
    ``while`` are not converted (``autograph``): on a tensor they raise TracingError, which names ``tf.cond`` and
    ``tf.while_loop``.

    Args:
        input_signature: a ``tf.TensorSpec`` for each argument, checked on every call.
    """
    if func is None:
        return lambda f: TensorFlowFunction(f, input_signature=input_signature)
    return TensorFlowFunction(func, input_signature=input_signature)
