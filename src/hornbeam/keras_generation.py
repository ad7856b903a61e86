"""Has the models of keras-hub generate in compiled code.

keras-hub compiles the step that generates (for text the loop over all tokens) with `tf.function` or `jax.jit`, and runs
it as plain Python on a backend that it does not know by name.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from hornbeam.runtime.function import function


def compile_generation(module: ModuleType) -> None:
    """Change the classes of ``module`` that make a `generate_function`; `run_eagerly` keeps the plain step."""
    for _, model in inspect.getmembers(module, inspect.isclass):
        if "make_generate_function" in vars(model):
            _compile(model)


def _compile(model: Any) -> None:
    original = model.make_generate_function

    def make_generate_function(self: Any) -> Any:
        if self.generate_function is None and not self.run_eagerly:
            self.generate_function = function(self.generate_step)
        return original(self)  # gives what is there

    model.make_generate_function = make_generate_function
