"""``tf.compat.v1.train``: optimizers whose state is variables of the graph, learning rates, savers."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.errors import GradientError, explain
from hornbeam.ops import math as maths
from hornbeam.runtime.graph import recording
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import as_array, concrete
from hornbeam.runtime.variable import variable_of
from hornbeam.tensorflow import checkpoints
from hornbeam.tensorflow.arrays import convert_to_tensor, group, where, zeros_like
from hornbeam.tensorflow.checkpoints import (
    CheckpointState,
    checkpoint_exists,
    get_checkpoint_state,
    latest_checkpoint,
    list_variables,
)
from hornbeam.tensorflow.compat.v1.graphs import GraphKeys, add_to_collection, get_collection
from hornbeam.tensorflow.names import absent
from hornbeam.tensorflow.scopes import control_dependencies, name_scope
from hornbeam.tensorflow.train import Checkpoint, CheckpointManager
from hornbeam.tensorflow.variables import Variable

__all__ = [
    "Checkpoint", "CheckpointManager", "CheckpointState", "Coordinator", "ExponentialMovingAverage", "Saver",
    "Optimizer", "GradientDescentOptimizer", "MomentumOptimizer", "AdagradOptimizer", "RMSPropOptimizer",
    "AdamOptimizer",
    "checkpoint_exists", "get_checkpoint_state", "latest_checkpoint", "list_variables",
    "create_global_step", "get_global_step", "get_or_create_global_step", "global_step",
    "exponential_decay", "polynomial_decay", "inverse_time_decay", "cosine_decay", "piecewise_constant",
    "piecewise_constant_decay",
]  # fmt: skip

# -- steps -----------------------------------------------------------------------------------------------------------


def create_global_step(graph: Any = None) -> Variable:
    """A variable that counts training steps. Raises ValueError if the graph has one."""
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    step = Variable(0, trainable=False, name="global_step", dtype="int64")
    add_to_collection(GraphKeys.GLOBAL_STEP, step)
    return step


def get_global_step(graph: Any = None) -> Any:
    """The variable that counts training steps, None if there is none."""
    steps = get_collection(GraphKeys.GLOBAL_STEP)
    named = [v for v in get_collection(GraphKeys.GLOBAL_VARIABLES) if v.name == "global_step:0"]
    return (steps or named or [None])[0]


def get_or_create_global_step(graph: Any = None) -> Any:
    """The variable that counts training steps."""
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The number of steps done in ``sess``."""
    return int(sess.run(global_step_tensor))


# -- learning rates --------------------------------------------------------------------------------------------------


def _steps(global_step: Any) -> Any:
    step = convert_to_tensor(global_step.value() if hasattr(global_step, "read_value") else global_step)
    return maths.cast(step, "float32")


def exponential_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False, name: Any = None
) -> Any:
    """learning_rate * decay_rate ** (step / decay_steps), the exponent cut to whole numbers if ``staircase``."""
    power = _steps(global_step) / decay_steps
    return learning_rate * maths.power(decay_rate, maths.floor(power) if staircase else power)


def polynomial_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001, power: Any = 1.0,
    cycle: bool = False, name: Any = None,
) -> Any:  # fmt: skip
    """From ``learning_rate`` to ``end_learning_rate`` in ``decay_steps`` steps."""
    if cycle:
        raise ValueError("polynomial_decay: cycle=True is not there.")
    part = maths.minimum(_steps(global_step), float(decay_steps)) / decay_steps
    return (learning_rate - end_learning_rate) * maths.power(1 - part, power) + end_learning_rate


def inverse_time_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False, name: Any = None
) -> Any:
    """learning_rate / (1 + decay_rate * step / decay_steps)."""
    part = _steps(global_step) / decay_steps
    return learning_rate / (1 + decay_rate * (maths.floor(part) if staircase else part))


def cosine_decay(learning_rate: Any, global_step: Any, decay_steps: Any, alpha: float = 0.0, name: Any = None) -> Any:
    """From ``learning_rate`` to ``alpha`` times it along half a cosine."""
    part = maths.minimum(_steps(global_step), float(decay_steps)) / decay_steps
    return learning_rate * ((1 - alpha) * 0.5 * (1 + maths.cos(math.pi * part)) + alpha)


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: Any = None) -> Any:
    """The first value up to the first boundary, the next up to the next, the last beyond."""
    step = _steps(x)
    out = values[-1]
    for boundary, value in zip(reversed(boundaries), reversed(values[:-1])):
        out = where(step <= float(boundary), value, out)
    return out


piecewise_constant_decay = piecewise_constant

# -- optimizers ------------------------------------------------------------------------------------------------------


class Optimizer:
    """Changes variables so that a loss becomes smaller.

    In a graph ``minimize`` returns an operation; eagerly it takes a function that returns the loss, and changes the
    variables at once. What an optimizer remembers of a variable (a slot) is a variable too, named after both.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = range(3)
    SLOTS: tuple[str, ...] = ()

    def __init__(self, use_locking: bool, name: str) -> None:
        self._name = name
        self._slots: dict[str, dict[int, tuple[Any, Variable]]] = {slot: {} for slot in self.SLOTS}

    def get_name(self) -> str:
        return self._name

    def minimize(
        self, loss: Any, global_step: Any = None, var_list: Any = None, gate_gradients: int = 1,
        aggregation_method: Any = None, colocate_gradients_with_ops: bool = False, name: str | None = None,
        grad_loss: Any = None,
    ) -> Any:  # fmt: skip
        """``compute_gradients``, then ``apply_gradients``. Raises ValueError if no variable has a gradient."""
        pairs = self.compute_gradients(loss, var_list, grad_loss=grad_loss)
        if all(g is None for g, _ in pairs):
            raise GradientError(
                explain(
                    f"No gradients provided for any variable: the loss needs none of {[v.name for _, v in pairs]}.",
                    why="A cast to integers, argmax, a comparison or stop_gradient lets no gradient through.",
                )
            )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self, loss: Any, var_list: Any = None, gate_gradients: int = 1, aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False, grad_loss: Any = None,
    ) -> list[tuple[Any, Any]]:  # fmt: skip
        """Pairs (gradient, variable); the gradient is None where the loss does not depend on the variable."""
        graph = recording()
        if graph is not None:
            variables = list(var_list) if var_list is not None else get_collection(GraphKeys.TRAINABLE_VARIABLES)
            if not variables:
                raise ValueError(explain("No variables to optimize.", fix="make variables before the optimizer"))
            with name_scope("gradients"):
                return list(zip(graph.gradients(loss, variables, grad_loss), variables, strict=True))
        if not callable(loss):
            raise GradientError(
                explain(
                    "eagerly the loss must be a function of no arguments.", fix="opt.minimize(lambda: loss_of(x, y))"
                )
            )
        with GradientTape() as tape:
            value = loss()
        variables = list(var_list) if var_list is not None else list(tape.watched_variables())
        return list(zip(tape.gradient(value, variables, grad_loss), variables, strict=True))

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Any:
        """Change the variables; in a graph, an operation that does. Raises ValueError if there is no gradient."""
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            raise ValueError(explain("No gradients provided for any variable."))
        for _, v in pairs:
            self._create_slots(v)
        self._prepare()
        with name_scope(name or self._name):
            updates = [u for g, v in pairs for u in self._apply(convert_to_tensor(g), v)]
            with control_dependencies(updates):
                updates += self._finish()
            if global_step is not None:
                with control_dependencies(updates):
                    updates.append(global_step.assign_add(1))
        if recording() is None:
            return None
        done = group(*updates, name=name or self._name)
        add_to_collection(GraphKeys.TRAIN_OP, done)
        return done

    # -- slots

    def get_slot_names(self) -> list[str]:
        return list(self._slots)

    def get_slot(self, var: Any, name: str) -> Any:
        """What it remembers of ``var`` under ``name``, None before it was applied."""
        held = self._slots.get(name, {}).get(id(var))
        return None if held is None else held[1]

    def variables(self) -> list[Any]:
        """All that it remembers."""
        return [slot for held in self._slots.values() for _, slot in held.values()]

    def _create_slots(self, variable: Any) -> None:
        for number, slot in enumerate(self.SLOTS):
            if id(variable) not in self._slots[slot]:
                stem = variable_of(variable).name.removesuffix(":0")  # type: ignore[union-attr]
                name = f"{stem}/{self._name}" + (f"_{number}" if number else "")
                self._slots[slot][id(variable)] = (variable, _unscoped(self._first(slot, variable), name))

    def _first(self, slot: str, variable: Any) -> Any:
        """The first value of a slot."""
        return np.zeros(variable.shape, variable.dtype)

    # -- what each optimizer says

    def _prepare(self) -> None:
        """Make what is shared by all variables."""

    def _apply(self, gradient: Any, variable: Any) -> list[Any]:
        """The assignments for one variable."""
        raise NotImplementedError

    def _finish(self) -> list[Any]:
        """Assignments to be done after those of all variables."""
        return []

    @staticmethod
    def _value(x: Any, variable: Any) -> Any:
        """A hyperparameter (a number, a tensor, or a function that returns one) in the dtype of ``variable``."""
        x = x() if callable(x) else x
        return x if isinstance(x, (int, float)) else maths.cast(convert_to_tensor(x), variable.dtype)


def _unscoped(value: Any, name: str, trainable: bool = False) -> Variable:
    """A variable whose name is whole."""
    graph = recording()
    if graph is None:
        return Variable(value, trainable=trainable, name=name)
    with graph.name_scope(None):
        return Variable(value, trainable=trainable, name=name)


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate * g."""

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._rate = learning_rate

    def _apply(self, gradient: Any, variable: Any) -> list[Any]:
        return [variable.assign_sub(self._value(self._rate, variable) * gradient)]


class MomentumOptimizer(Optimizer):
    """a = momentum * a + g; var -= learning_rate * a, or, with Nesterov, learning_rate * (g + momentum * a)."""

    SLOTS = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._momentum, self._nesterov = learning_rate, momentum, use_nesterov

    def _apply(self, gradient: Any, variable: Any) -> list[Any]:
        slot, momentum = self.get_slot(variable, "momentum"), self._value(self._momentum, variable)
        a = slot.assign(momentum * slot.value() + gradient)
        step = gradient + momentum * a if self._nesterov else a
        return [a, variable.assign_sub(self._value(self._rate, variable) * step)]


class AdagradOptimizer(Optimizer):
    """a += g²; var -= learning_rate * g / sqrt(a)."""

    SLOTS = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._start = learning_rate, initial_accumulator_value

    def _first(self, slot: str, variable: Any) -> Any:
        return np.full(variable.shape, self._start, variable.dtype)

    def _apply(self, gradient: Any, variable: Any) -> list[Any]:
        a = self.get_slot(variable, "accumulator").assign_add(gradient * gradient)
        return [a, variable.assign_sub(self._value(self._rate, variable) * gradient * maths.rsqrt(a))]


class RMSPropOptimizer(Optimizer):
    """r = decay * r + (1 - decay) * g²; m = momentum * m + learning_rate * g / sqrt(r + epsilon); var -= m.

    ``centered`` subtracts the square of the mean gradient from r.
    """

    SLOTS: tuple[str, ...] = ("rms", "momentum")

    def __init__(
        self, learning_rate: Any, decay: Any = 0.9, momentum: Any = 0.0, epsilon: Any = 1e-10,
        use_locking: bool = False, centered: bool = False, name: str = "RMSProp",
    ) -> None:  # fmt: skip
        if centered:
            self.SLOTS = ("rms", "mg", "momentum")
        super().__init__(use_locking, name)
        self._rate, self._decay, self._momentum, self._epsilon, self._centered = (
            learning_rate,
            decay,
            momentum,
            epsilon,
            centered,
        )

    def _first(self, slot: str, variable: Any) -> Any:
        return np.full(variable.shape, 1.0 if slot == "rms" else 0.0, variable.dtype)

    def _apply(self, gradient: Any, variable: Any) -> list[Any]:
        rate, decay, momentum, epsilon = (
            self._value(x, variable) for x in (self._rate, self._decay, self._momentum, self._epsilon)
        )
        rms, mom = self.get_slot(variable, "rms"), self.get_slot(variable, "momentum")
        r = rms.assign(decay * rms.value() + (1 - decay) * gradient * gradient)
        done, spread = [r], r
        if self._centered:
            mg = self.get_slot(variable, "mg")
            mean = mg.assign(decay * mg.value() + (1 - decay) * gradient)
            done, spread = [r, mean], r - mean * mean
        m = mom.assign(momentum * mom.value() + rate * gradient * maths.rsqrt(spread + epsilon))
        return [*done, m, variable.assign_sub(m)]


class AdamOptimizer(Optimizer):
    """m = β₁ m + (1-β₁) g; v = β₂ v + (1-β₂) g²; var -= learning_rate * sqrt(1-β₂ᵗ) / (1-β₁ᵗ) * m / (sqrt(v) + ε).

    ε is added after the correction, as in TensorFlow 1 (the paper's ε-hat), not before it as in Keras.
    """

    SLOTS = ("m", "v")

    def __init__(
        self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8,
        use_locking: bool = False, name: str = "Adam",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._rate, self._beta1, self._beta2, self._epsilon = learning_rate, beta1, beta2, epsilon
        self._powers: tuple[Variable, ...] = ()

    def _prepare(self) -> None:
        if not self._powers:
            betas = (("beta1_power", self._beta1), ("beta2_power", self._beta2))
            self._powers = tuple(_unscoped(np.float32(b() if callable(b) else b), name) for name, b in betas)

    def _apply(self, gradient: Any, variable: Any) -> list[Any]:
        rate, beta1, beta2, epsilon = (
            self._value(x, variable) for x in (self._rate, self._beta1, self._beta2, self._epsilon)
        )
        power1, power2 = (maths.cast(p.value(), variable.dtype) for p in self._powers)
        rate = rate * maths.sqrt(1 - power2) / (1 - power1)
        slot_m, slot_v = self.get_slot(variable, "m"), self.get_slot(variable, "v")
        m = slot_m.assign(beta1 * slot_m.value() + (1 - beta1) * gradient)
        v = slot_v.assign(beta2 * slot_v.value() + (1 - beta2) * gradient * gradient)
        return [m, v, variable.assign_sub(rate * m / (maths.sqrt(v) + epsilon))]

    def _finish(self) -> list[Any]:
        betas = (self._beta1, self._beta2)
        return [p.assign(p.value() * self._value(b, p)) for p, b in zip(self._powers, betas, strict=True)]

    def variables(self) -> list[Any]:
        return [*self._powers, *super().variables()]


class ExponentialMovingAverage:
    """Averages of variables: shadow = decay * shadow + (1 - decay) * variable, with every run of ``apply``."""

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        if zero_debias:
            raise ValueError("ExponentialMovingAverage: zero_debias=True is not there.")
        self._decay, self._updates, self.name = decay, num_updates, name
        self._averages: dict[int, tuple[Any, Variable]] = {}

    def apply(self, var_list: Sequence[Any] | None = None) -> Any:
        """An operation that brings the averages up to date; eagerly it happens at once."""
        variables = get_collection(GraphKeys.TRAINABLE_VARIABLES) if var_list is None else list(var_list)
        decay = self._decay
        if self._updates is not None:
            done = _steps(self._updates)
            decay = maths.minimum(decay, (1 + done) / (10 + done))
        updates = []
        for v in variables:
            if id(v) not in self._averages:
                first = v.initialized_value() if isinstance(v, Variable) else zeros_like(v)
                stem = v.name.partition(":")[0]
                self._averages[id(v)] = (v, _unscoped(first, f"{stem}/{self.name}"))
            shadow = self._averages[id(v)][1]
            updates.append(shadow.assign_sub((1 - decay) * (shadow.value() - v)))
        return group(*updates, name=self.name)

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average of ``var``, None before ``apply``."""
        held = self._averages.get(id(var))
        return None if held is None else held[1]

    def average_name(self, var: Any) -> str:
        return f"{var.name.partition(':')[0]}/{self.name}"

    def variables_to_restore(self, moving_avg_variables: Any = None) -> dict[str, Any]:
        """For a Saver: each variable under the name of its average, if it has one."""
        own = {id(s) for _, s in self._averages.values()}
        found = [v for v in get_collection(GraphKeys.GLOBAL_VARIABLES) if id(v) not in own]
        trained = {id(v) for v in get_collection(GraphKeys.TRAINABLE_VARIABLES)}
        return {self.average_name(v) if id(v) in trained else v.name.partition(":")[0]: v for v in found}


# -- saving ----------------------------------------------------------------------------------------------------------


class Saver:
    """Saves and restores the values that variables have in a session.

    Args:
        var_list: variables, or a dict of them by the name to save under; by default all of the graph.
        max_to_keep: how many checkpoints to keep; 0 or None keeps all.
    Raises:
        ValueError: there are no variables.
    """

    def __init__(
        self, var_list: Any = None, reshape: bool = False, sharded: bool = False, max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0, name: str | None = None, restore_sequentially: bool = False,
        saver_def: Any = None, builder: Any = None, defer_build: bool = False, allow_empty: bool = False,
        write_version: Any = None, pad_step_number: bool = False, save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:  # fmt: skip
        given = get_collection(GraphKeys.GLOBAL_VARIABLES) if var_list is None else var_list
        pairs = given.items() if isinstance(given, dict) else [(v.name.partition(":")[0], v) for v in given]
        self._variables: dict[str, Any] = {name: variable_of(v) for name, v in pairs}
        if not self._variables and not allow_empty:
            raise ValueError(explain("No variables to save.", fix="make the Saver after the variables"))
        self._keep, self._kept = max_to_keep or 0, list[str]()

    @property
    def last_checkpoints(self) -> list[str]:
        return list(self._kept)

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        self._kept = list(last_checkpoints)

    def save(
        self, sess: Any, save_path: str, global_step: Any = None, latest_filename: str | None = None,
        meta_graph_suffix: str = "meta", write_meta_graph: bool = True, write_state: bool = True, **options: Any,
    ) -> str:  # fmt: skip
        """Save under ``save_path`` (and the step); returns what to restore from. The graph itself is not saved.

        Raises UninitializedVariableError if a variable has no value in ``sess``.
        """
        if global_step is not None:
            step = global_step if isinstance(global_step, (int, np.integer)) else sess.run(global_step)
            save_path = f"{save_path}-{int(step)}"
        checkpoints.write(save_path, {name: sess.read(v).numpy() for name, v in self._variables.items()})
        self._kept = [p for p in self._kept if p != save_path] + [save_path]
        while self._keep and len(self._kept) > self._keep:
            checkpoints.remove(self._kept.pop(0))
        if write_state:
            checkpoints.write_state(os.path.dirname(save_path), self._kept, latest_filename)
        return save_path

    def restore(self, sess: Any, save_path: str | None) -> None:
        """Give every variable its saved value in ``sess``, which initializes it; or none of them if one does not fit.

        Raises:
            ValueError: there is no such checkpoint.
            NotFoundError: it lacks a variable. InvalidArgumentError: it has another shape or dtype.
        """
        if save_path is None:
            raise ValueError(
                "Can't load save_path when it is None. Was latest_checkpoint() given a folder without checkpoints?"
            )
        found = checkpoints.match(checkpoints.read(save_path), self._variables, save_path)
        for name, variable in self._variables.items():
            sess.write(variable, concrete(as_array(found[name])))


# -- threads ---------------------------------------------------------------------------------------------------------


class Coordinator:
    """Lets threads stop together."""

    def __init__(self, clean_stop_exception_types: Any = None) -> None:
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def request_stop(self, ex: BaseException | None = None) -> None:
        """Ask all threads to stop; ``join`` then raises ``ex``."""
        self._error = self._error or ex
        self._stop.set()

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        self._threads.append(thread)

    def join(
        self, threads: Sequence[threading.Thread] | None = None, stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:  # fmt: skip
        """Wait for all threads. Raises what stopped them, or RuntimeError if one does not end in time."""
        waiting = [*self._threads, *(threads or ())]
        while not self._stop.is_set() and any(t.is_alive() for t in waiting):
            time.sleep(0.01)
        deadline = time.monotonic() + stop_grace_period_secs
        for thread in waiting:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._error is not None:
            raise self._error
        alive = [t.name for t in waiting if t.is_alive()]
        if alive and not ignore_live_threads:
            raise RuntimeError(f"Coordinator stopped with threads still running: {', '.join(alive)}")


__getattr__ = absent(__name__, globals())
