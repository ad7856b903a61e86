"""``fit``, ``evaluate`` and ``predict``: Keras's loop over batches around steps, each traced into one Program."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from keras.src import callbacks as callbacks_module
from keras.src import optimizers as optimizers_module
from keras.src import tree
from keras.src.backend import config
from keras.src.trainers import trainer as base_trainer
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.utils import traceback_utils
from keras.src.utils.python_utils import pythonify_logs

from hornbeam.errors import TracingError
from hornbeam.ops.array import concat
from hornbeam.runtime import session as sessions
from hornbeam.runtime.function import function
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import Tensor, concrete
from keras_hornbeam.src.epochs import Epochs, Rows, one_batch, watches_batches
from keras_hornbeam.src.ops.core import convert_to_numpy, convert_to_tensor


class Trainer(base_trainer.BaseTrainer):
    """The training loop that ``keras.Model`` inherits on this backend.

    ``train_step``, ``test_step`` and ``predict_step`` take one batch and may be overridden, in the stateful style:
    variables are read and assigned, and what is returned are logs (or predictions).
    """

    def __init__(self):
        super().__init__()
        self.train_function: Any = None
        self.test_function: Any = None
        self.predict_function: Any = None
        self._eval_epoch_iterator: Any = None

    # -- one step ------------------------------------------------------------------------------------------------------

    def train_step(self, data):
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(data)
        with GradientTape() as tape:
            y_pred = self(x, training=True) if self._call_has_training_arg else self(x)
            loss = self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
            self._track_loss(loss, x)
            if self.optimizer is not None:
                loss = self.optimizer.scale_loss(loss)
        if self.trainable_weights:
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def test_step(self, data):
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False) if self._call_has_training_arg else self(x)
        loss = self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        self._track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def predict_step(self, data):
        x, _, _ = data_adapter_utils.unpack_x_y_sample_weight(data)
        return self(x, training=False) if self._call_has_training_arg else self(x)

    def _track_loss(self, loss, x):
        batch = next(leaf for leaf in tree.flatten(x) if leaf is not None)
        self._loss_tracker.update_state(loss, sample_weight=batch.shape[0])

    # -- one call: ``steps_per_execution`` steps -----------------------------------------------------------------------

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.train_function = Steps(self, self.train_step).last
        return self.train_function

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = Steps(self, self.test_step).last
        return self.test_function

    def make_predict_function(self, force=False):
        if self.predict_function is None or force:
            self.predict_function = Steps(self, self.predict_step).joined
        return self.predict_function

    # -- loops ---------------------------------------------------------------------------------------------------------

    @traceback_utils.filter_traceback
    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ):
        self._assert_compile_called("fit")
        max_epochs = config.max_epochs()
        if max_epochs and max_epochs < epochs:
            warnings.warn(f"Limiting epochs to {max_epochs}", stacklevel=2)
            epochs = max_epochs
        self._eval_epoch_iterator = None
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = array_slicing.train_validation_split(
                (x, y, sample_weight), validation_split=validation_split
            )
        iterator = Epochs(
            x=x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
            steps_per_execution=self.steps_per_execution,
        )
        self._build_from(iterator, "train_step")
        callbacks = self._callback_list(callbacks, iterator, verbose, epochs, add_history=True)

        self.stop_training = False
        self.make_train_function()
        watched = watches_batches(callbacks, "train")
        callbacks.on_train_begin()
        training_logs, logs = None, {}
        for epoch in range(self._initial_epoch or initial_epoch, epochs):
            self.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            with iterator.catch_stop_iteration():
                for begin, end, batches in iterator.executions(not self.run_eagerly, watched):
                    callbacks.on_train_batch_begin(begin)
                    logs = self.train_function(batches)
                    callbacks.on_train_batch_end(end, logs)
                    if self.stop_training:
                        break
            epoch_logs = dict(self._get_metrics_result_or_logs(logs))
            if validation_data is not None and self._should_eval(epoch, validation_freq):
                epoch_logs.update(
                    self._validate(
                        validation_data,
                        validation_batch_size or batch_size,
                        validation_steps,
                        callbacks,
                    )
                )
            callbacks.on_epoch_end(epoch, epoch_logs)
            training_logs = epoch_logs
            if self.stop_training:
                break
        if isinstance(self.optimizer, optimizers_module.Optimizer) and epochs > 0:
            self.optimizer.finalize_variable_values(self.trainable_weights)
        self._eval_epoch_iterator = None
        callbacks.on_train_end(logs=training_logs)
        return self.history

    def _validate(self, validation_data, batch_size, steps, callbacks):
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(validation_data)
        if self._eval_epoch_iterator is None:
            self._eval_epoch_iterator = Epochs(
                x=x,
                y=y,
                sample_weight=sample_weight,
                batch_size=batch_size,
                steps_per_epoch=steps,
                shuffle=False,
                steps_per_execution=self.steps_per_execution,
            )
        logs = self.evaluate(
            x=x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            steps=steps,
            callbacks=callbacks,
            return_dict=True,
            _use_cached_eval_dataset=True,
        )
        return {f"val_{name}": value for name, value in logs.items()}

    @traceback_utils.filter_traceback
    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **kwargs,
    ):
        self._assert_compile_called("evaluate")
        cached = kwargs.pop("_use_cached_eval_dataset", False)
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        iterator = (
            self._eval_epoch_iterator
            if cached
            else Epochs(
                x=x,
                y=y,
                sample_weight=sample_weight,
                batch_size=batch_size,
                steps_per_epoch=steps,
                shuffle=False,
                steps_per_execution=self.steps_per_execution,
            )
        )
        self._build_from(iterator, "test_step")
        callbacks = self._callback_list(callbacks, iterator, verbose, 1)

        self.make_test_function()
        self.stop_evaluating = False
        callbacks.on_test_begin()
        logs = {}
        self.reset_metrics()
        with iterator.catch_stop_iteration():
            for begin, end, batches in iterator.executions(not self.run_eagerly, watches_batches(callbacks, "test")):
                callbacks.on_test_batch_begin(begin)
                logs = self.test_function(batches)
                callbacks.on_test_batch_end(end, logs)
                if self.stop_evaluating:
                    break
        logs = pythonify_logs(self._get_metrics_result_or_logs(logs))
        callbacks.on_test_end(logs)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    @traceback_utils.filter_traceback
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        if verbose == 0 and not callbacks and steps is None:
            batch = one_batch(x, batch_size)
            if batch is not None:  # nobody looks on: no loop, no callbacks
                return self._predict_at_once(batch)
        iterator = Epochs(
            x=x,
            batch_size=batch_size,
            steps_per_epoch=steps,
            shuffle=False,
            steps_per_execution=self.steps_per_execution,
        )
        callbacks = self._callback_list(callbacks, iterator, verbose, 1)

        self.make_predict_function()
        self.stop_predicting = False
        callbacks.on_predict_begin()
        collected, structure = [], None
        with iterator.catch_stop_iteration():
            for begin, end, batches in iterator.executions(not self.run_eagerly, watches_batches(callbacks, "predict")):
                callbacks.on_predict_batch_begin(begin)
                outputs = self.predict_function(batches)
                structure = outputs
                collected.append([convert_to_numpy(leaf) for leaf in tree.flatten(outputs)])
                callbacks.on_predict_batch_end(end, {"outputs": outputs})
                if self.stop_predicting:
                    break
        callbacks.on_predict_end()
        if not collected:
            raise ValueError("`predict` got no batch of data: `x` is empty, or its iterator is used up.")
        return tree.pack_sequence_as(structure, [_joined(parts) for parts in zip(*collected, strict=True)])

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        self._assert_compile_called("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError(
                    "Arguments `sample_weight` and `class_weight` cannot be specified at the same time. "
                    f"Received: sample_weight={sample_weight}, class_weight={class_weight}"
                )
            sample_weight = data_adapter_utils.class_weight_to_sample_weights(y, class_weight)
        data = _batch(x, y, sample_weight)
        self._build_for(data, "train_step")
        self.make_train_function()
        return self._logs_of(self.train_function, data, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        self._assert_compile_called("test_on_batch")
        data = _batch(x, y, sample_weight)
        self._build_for(data, "test_step")
        self.make_test_function()
        return self._logs_of(self.test_function, data, return_dict)

    def predict_on_batch(self, x):
        return self._predict_at_once(data_adapter_utils.pack_x_y_sample_weight(x))

    # -- names of Keras 2, which steps written for TensorFlow still use ------------------------------------------------

    def compiled_loss(self, y, y_pred, sample_weight=None, regularization_losses=None):
        """The losses given to ``compile``, and the regularization losses of the layers, whether passed or not."""
        return self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)

    @property
    def compiled_metrics(self):
        """Has ``update_state(y, y_pred, sample_weight)`` of the metrics given to ``compile``."""
        return self._compile_metrics

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _predict_at_once(self, data):
        self.make_predict_function()
        return tree.map_structure(convert_to_numpy, self.predict_function([data]))

    def _logs_of(self, fn, data, return_dict):
        self.reset_metrics()
        logs = pythonify_logs(fn([data]))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def _callback_list(self, callbacks, iterator, verbose, epochs, **options):
        if isinstance(callbacks, callbacks_module.CallbackList):
            return callbacks
        return callbacks_module.CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=iterator.num_batches,
            model=self,
            **options,
        )

    def _build_for(self, data, step):
        """Build model, metrics, losses and optimizer from the shapes of one batch, if they are not built."""
        if any(self._get_unbuilt_components()):
            try:
                self._symbolic_build(data_batch=data)
            except RuntimeError:
                # A step of one's own may call the model otherwise, or parts of it only: tracing it builds what it uses.
                if getattr(type(self), step) is getattr(Trainer, step):
                    raise

    def _build_from(self, iterator, step):
        if any(self._get_unbuilt_components()):
            for _, _, batches in iterator:
                self._build_for(tree.map_structure(_as_input, batches[0]), step)
                break
        iterator.reset()


class Steps:
    """A step over many batches: a traced function, or the Python method itself under ``run_eagerly``.

    A model with ``jit_compile=False``, which is set or follows from a layer in it, may ask for values: it then falls
    back to Python.
    """

    def __init__(self, model, step):
        self.step, self.must_compile, self.eager = step, model.jit_compile, model.run_eagerly
        self.traced = function(step, name=f"{model.name}.{step.__name__}")

    def last(self, batches):
        """The logs of the last."""
        if isinstance(batches, Rows) and not self.eager:
            try:
                return self.traced.over_rows(batches.rows, batches.data)
            except TracingError as error:
                self._fall_back(error)
        logs = {}
        for data in batches:
            logs = self._one(data)
        return logs

    def joined(self, batches):
        """The predictions for all of them."""
        if isinstance(batches, Rows) and len(batches) > 1 and not self.eager:
            try:
                outputs = self.traced.over_rows(batches.rows, batches.data, stacked=True)
                return tree.map_structure(_unstacked, outputs)
            except TracingError as error:
                self._fall_back(error)
        outputs = [self._one(data) for data in batches]
        if len(outputs) == 1:
            return outputs[0]
        return tree.map_structure(lambda *parts: concat(list(parts), axis=0), *outputs)

    def _one(self, data):
        data = tree.map_structure(_as_input, data)
        if not self.eager:
            try:
                return self.traced(data)
            except TracingError as error:
                self._fall_back(error)
        return self.step(data)

    def _fall_back(self, error):
        if self.must_compile:
            raise error
        sessions.current().ledger.note("fallback", f"{self.traced.name} runs eagerly: it asks for values")
        self.eager = True


def _unstacked(x):
    """(calls, batch, …) as (samples, …)."""
    return concrete(x.array.reshape((-1, *x.shape[2:]))) if x.ndim > 1 else x


def _as_input(x):
    return x if x is None or isinstance(x, Tensor) else convert_to_tensor(x)


def _batch(x, y=None, sample_weight=None):
    return tree.map_structure(_as_input, (x, y, sample_weight))


def _joined(parts):
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=0)
