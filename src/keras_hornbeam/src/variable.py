"""Keras's ``Variable`` over ours: Keras keeps the name, path and policies, a session keeps the value."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import KerasVariable
from keras.src.backend.common.name_scope import name_scope as base_name_scope

from hornbeam.runtime.allowance import spend
from hornbeam.runtime.eager import eagerly
from hornbeam.runtime.graph import recording
from hornbeam.runtime.variable import Variable as HornbeamVariable
from keras_hornbeam.src.ops.core import convert_to_tensor


class Variable(KerasVariable):
    """A Keras variable whose value lives in the session in which it was made."""

    _value: HornbeamVariable | None

    @property
    def __hornbeam_variable__(self) -> HornbeamVariable | None:
        return self._value

    def _initialize(self, value: Any) -> None:
        self._value = HornbeamVariable(value, dtype=self._dtype, trainable=self._trainable, name=self._path)

    def _initialize_with_initializer(self, initializer: Any) -> None:
        spend(self._shape, self._dtype, self._path)
        if recording() is not None:
            self._initialize(convert_to_tensor(initializer(self._shape, dtype=self._dtype)))
            return
        # Outside any trace: a first value is made once, not on every run of a traced function.
        with eagerly():
            value = convert_to_tensor(initializer(self._shape, dtype=self._dtype))
        self._initialize(value)

    def _direct_assign(self, value: Any) -> None:
        assert self._value is not None
        self._value.assign(value)

    def _convert_to_tensor(self, value: Any, dtype: Any = None) -> Any:
        return convert_to_tensor(value, dtype=dtype)

    def _maybe_autocast(self, value: Any) -> Any:
        # ``value`` is the place; the value in it is read here, where Keras is about to use it.
        return super()._maybe_autocast(value.value() if isinstance(value, HornbeamVariable) else value)

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        if self._value is not None:
            self._value.trainable = self._trainable

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.value.__array__(dtype, copy)

    # Copies, and what is pickled, carry the value; they live in the session that makes them.

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_value": None if self._value is None else self._value.numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_value"] is not None:
            self._initialize(state["_value"])


class name_scope(base_name_scope):
    """Keras's own name scope: paths of variables, nothing more."""
