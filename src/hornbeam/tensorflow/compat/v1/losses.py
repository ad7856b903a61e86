"""``tf.compat.v1.losses``: weighted losses, which also go into the collection LOSSES."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from hornbeam.errors import ShapeError, explain
from hornbeam.ops import activations, reductions
from hornbeam.ops import array as arrays
from hornbeam.ops import losses as entropies
from hornbeam.ops import math as maths
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow.compat.v1.graphs import GraphKeys, add_to_collection, get_collection
from hornbeam.tensorflow.math import add_n
from hornbeam.tensorflow.names import absent, op


class Reduction(enum.Enum):
    """What becomes of the losses of all elements."""

    NONE = "none"
    SUM = "weighted_sum"
    MEAN = "weighted_mean"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"


@op
def _weighted(losses: Any, weights: Any, reduction: Reduction) -> Any:
    losses = as_tensor(losses)
    weights = as_tensor(weights).astype(losses.dtype)
    weighted = losses * weights
    if reduction is Reduction.NONE:
        return weighted
    total = reductions.sum(weighted)
    if reduction is Reduction.SUM:
        return total
    if reduction is Reduction.SUM_OVER_BATCH_SIZE:
        return total / losses.size
    spread = arrays.broadcast_to(weights, losses.shape)
    if reduction is Reduction.MEAN:
        return maths.divide_no_nan(total, reductions.sum(spread))
    return maths.divide_no_nan(total, reductions.sum((spread != 0).astype(losses.dtype)))


def compute_weighted_loss(
    losses: Any, weights: Any = 1.0, scope: Any = None, loss_collection: str | None = GraphKeys.LOSSES,
    reduction: Reduction = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:  # fmt: skip
    """Losses times weights, reduced to one number."""
    loss = _weighted(losses, weights, reduction, name=scope or "weighted_loss")
    if loss_collection:
        add_to_collection(loss_collection, loss)
    return loss


def _pair(labels: Any, predictions: Any) -> tuple[Any, Any]:
    predictions = as_tensor(predictions)
    labels = as_tensor(labels).astype(predictions.dtype)
    if labels.shape != predictions.shape:
        raise ShapeError(
            explain(
                f"labels {tuple(labels.shape)} and predictions {tuple(predictions.shape)} must have the same shape.",
                fix="labels[:, None] for a column",
            )
        )
    return labels, predictions


def _loss(name: str, elementwise: Callable[..., Any], doc: str) -> Any:
    losses = op(elementwise)

    def fn(
        labels: Any, predictions: Any, weights: Any = 1.0, *options: Any, scope: Any = None,
        loss_collection: str | None = GraphKeys.LOSSES, reduction: Reduction = Reduction.SUM_BY_NONZERO_WEIGHTS,
        **named: Any,
    ) -> Any:  # fmt: skip
        found = losses(labels, predictions, *options, name=f"{scope or name}/losses", **named)
        return compute_weighted_loss(found, weights, scope or name, loss_collection, reduction)

    fn.__name__, fn.__doc__ = name, doc
    return fn


def _squared(labels: Any, predictions: Any) -> Any:
    labels, predictions = _pair(labels, predictions)
    return maths.square(predictions - labels)


def _absolute(labels: Any, predictions: Any) -> Any:
    labels, predictions = _pair(labels, predictions)
    return maths.abs(predictions - labels)


def _huber(labels: Any, predictions: Any, delta: float = 1.0) -> Any:
    error = _absolute(labels, predictions)
    small = maths.minimum(error, delta)
    return 0.5 * small * small + delta * (error - small)


def _log(labels: Any, predictions: Any, epsilon: float = 1e-7) -> Any:
    labels, predictions = _pair(labels, predictions)
    return -labels * maths.log(predictions + epsilon) - (1 - labels) * maths.log(1 - predictions + epsilon)


def _hinge(labels: Any, logits: Any) -> Any:
    labels, logits = _pair(labels, logits)
    return activations.relu(1 - (2 * labels - 1) * logits)


mean_squared_error = _loss("mean_squared_error", _squared, "(predictions - labels)².")
absolute_difference = _loss("absolute_difference", _absolute, "|predictions - labels|.")
huber_loss = _loss("huber_loss", _huber, "Half the square of small differences, ``delta`` times what is larger.")
log_loss = _loss("log_loss", _log, "-labels log(predictions) - (1 - labels) log(1 - predictions).")
hinge_loss = _loss("hinge_loss", _hinge, "max(0, 1 - y * logits) with y of -1 and 1 for labels of 0 and 1.")


def sigmoid_cross_entropy(
    multi_class_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: Reduction = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:  # fmt: skip
    """The cross-entropy of independent classes."""
    found = _sigmoid(multi_class_labels, logits, label_smoothing)
    return compute_weighted_loss(found, weights, scope, loss_collection, reduction)


@op
def _sigmoid(labels: Any, logits: Any, smoothing: float) -> Any:
    labels, logits = _pair(labels, logits)
    return entropies.binary_crossentropy(labels * (1 - smoothing) + 0.5 * smoothing, logits, from_logits=True)


def softmax_cross_entropy(
    onehot_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None,
    loss_collection: str | None = GraphKeys.LOSSES, reduction: Reduction = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:  # fmt: skip
    """The cross-entropy of one class among several, given as one-hot labels."""
    found = _softmax(onehot_labels, logits, label_smoothing)
    return compute_weighted_loss(found, weights, scope, loss_collection, reduction)


@op
def _softmax(labels: Any, logits: Any, smoothing: float) -> Any:
    labels, logits = _pair(labels, logits)
    labels = labels * (1 - smoothing) + smoothing / labels.shape[-1]
    return entropies.categorical_crossentropy(labels, logits, from_logits=True)


def sparse_softmax_cross_entropy(
    labels: Any, logits: Any, weights: Any = 1.0, scope: Any = None, loss_collection: str | None = GraphKeys.LOSSES,
    reduction: Reduction = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Any:  # fmt: skip
    """The cross-entropy of one class among several, given by its number."""
    return compute_weighted_loss(_sparse(labels, logits), weights, scope, loss_collection, reduction)


_sparse = op(lambda labels, logits: entropies.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add a loss to those that ``get_total_loss`` sums."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """The losses made so far."""
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The losses of regularizers made so far."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Any:
    """The sum of the losses of regularizers; 0 without any."""
    found = get_regularization_losses(scope)
    return add_n(found, name=name) if found else as_tensor(0.0)


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None) -> Any:
    """The sum of all losses made so far. Raises ValueError without any."""
    found = get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else [])
    if not found:
        raise ValueError(explain("get_total_loss: no losses were made."))
    return add_n(found, name=name)


__getattr__ = absent(__name__, globals())
