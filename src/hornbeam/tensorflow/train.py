"""``tf.train``: checkpoints of objects that hold variables."""

from __future__ import annotations

import os
from typing import Any

from hornbeam.runtime import session as sessions
from hornbeam.runtime.tensor import concrete
from hornbeam.runtime.variable import Variable as BaseVariable
from hornbeam.runtime.variable import variable_of
from hornbeam.tensorflow import checkpoints
from hornbeam.tensorflow.checkpoints import (
    checkpoint_exists,
    get_checkpoint_state,
    latest_checkpoint,
    list_variables,
)
from hornbeam.tensorflow.names import absent
from hornbeam.tensorflow.variables import Variable

__all__ = [
    "Checkpoint", "CheckpointManager", "checkpoint_exists", "get_checkpoint_state", "latest_checkpoint",
    "list_variables",
]  # fmt: skip


class Checkpoint:
    """Saves and restores the variables of the objects given by keyword, in the order in which each lists them.

    An object is a variable, or has ``variables``: a Keras model or optimizer, a ``tf.Module``. Keras makes variables
    when a model is built and an optimizer first used, so build both before restoring.
    """

    def __init__(self, root: Any = None, **kwargs: Any) -> None:
        self._objects = dict(kwargs) if root is None else {"root": root, **kwargs}
        vars(self).update(kwargs)
        self.save_counter = Variable(0, trainable=False, name="save_counter", dtype="int64")

    def _variables(self) -> dict[str, BaseVariable]:
        out: dict[str, BaseVariable] = {"save_counter": self.save_counter}
        for name, holder in self._objects.items():
            one = variable_of(holder)
            if one is not None:
                out[name] = one
                continue
            for i, v in enumerate(holder.variables):
                variable = variable_of(v)
                if variable is not None:
                    out[f"{name}/{i}"] = variable
        return out

    def write(self, file_prefix: str, options: Any = None) -> str:
        """Save under exactly this prefix; returns it."""
        session = sessions.current()
        checkpoints.write(file_prefix, {name: session.read(v).numpy() for name, v in self._variables().items()})
        return file_prefix

    def save(self, file_prefix: str, options: Any = None) -> str:
        """Save under the prefix and a number that counts up; returns what to restore from."""
        self.save_counter.assign_add(1)
        path = self.write(f"{file_prefix}-{int(self.save_counter)}")
        folder = os.path.dirname(path)
        state = get_checkpoint_state(folder)
        earlier = [p for p in (state.all_model_checkpoint_paths if state else []) if checkpoint_exists(p) and p != path]
        checkpoints.write_state(folder, [*earlier, path])
        return path

    def restore(self, save_path: str | None, options: Any = None) -> Checkpoint:
        """Give every variable its saved value, or none of them if one does not fit. None restores nothing.

        Raises:
            ValueError: there is no such checkpoint. NotFoundError, InvalidArgumentError: it does not fit.
        """
        if save_path is None:
            return self
        wanted = self._variables()
        found = checkpoints.match(checkpoints.read(save_path), wanted, save_path)
        session = sessions.current()
        for name, variable in wanted.items():
            session.write(variable, concrete(found[name]))
        return self

    read = restore

    def assert_consumed(self) -> Checkpoint:
        """True already: ``restore`` raises if a value is missing."""
        return self

    expect_partial = assert_existing_objects_matched = assert_consumed


class CheckpointManager:
    """Saves checkpoints ``ckpt-1``, ``ckpt-2`` … in a folder and keeps the latest ``max_to_keep`` of them."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: str,
        max_to_keep: int | None,
        checkpoint_name: str = "ckpt",
    ) -> None:
        self._checkpoint, self.directory, self._keep, self._name = checkpoint, directory, max_to_keep, checkpoint_name
        os.makedirs(directory, exist_ok=True)

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints there are, the latest last."""
        state = get_checkpoint_state(self.directory)
        return [p for p in (state.all_model_checkpoint_paths if state else []) if checkpoint_exists(p)]

    @property
    def latest_checkpoint(self) -> str | None:
        return latest_checkpoint(self.directory)

    def save(self, checkpoint_number: Any = None) -> str:
        """Save the next checkpoint, remove the oldest if there are too many; returns its prefix."""
        prefix = os.path.join(self.directory, self._name)
        if checkpoint_number is None:
            path = self._checkpoint.save(prefix)
        else:
            path = self._checkpoint.write(f"{prefix}-{int(checkpoint_number)}")
            checkpoints.write_state(self.directory, [*self.checkpoints, path])
        kept = self.checkpoints
        drop = kept[: -self._keep] if self._keep else []
        for old in drop:
            checkpoints.remove(old)
        checkpoints.write_state(self.directory, kept[len(drop) :])
        return path

    def restore_or_initialize(self) -> str | None:
        """Restore the latest checkpoint, if there is one; returns its prefix."""
        path = self.latest_checkpoint
        self._checkpoint.restore(path)
        return path


__getattr__ = absent(__name__, globals())
