"""Connectionist temporal classification: the loss of a label sequence without an alignment, and decoding.

Graves, Fernández, Gomez and Schmidhuber, "Connectionist Temporal Classification", 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_dim
from hornbeam.errors import ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import EXP, LOG, MAX, SELECT, scalar
from hornbeam.ir.primitives.index import ARGSORT, take_along_axis
from hornbeam.ir.primitives.movement import BROADCAST, CONCAT, STOP_GRADIENT
from hornbeam.ir.primitives.reduce import ARGMAX, HALF, REDUCE_MAX
from hornbeam.ops.activations import log_softmax
from hornbeam.ops.arguments import inexact
from hornbeam.ops.control import callback, scan
from hornbeam.ops.op import op
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.tensor import as_tensor

NEVER = -1e30  # the logarithm of a probability that is none; finite, so that differences of two are no NaN


def _log_sum(*xs: Any) -> Any:
    """log(sum(exp(x))) of a few tensors, elementwise."""
    top = xs[0]
    for x in xs[1:]:
        top = MAX(top, x)
    top = STOP_GRADIENT(top)
    total = EXP(xs[0] - top)
    for x in xs[1:]:
        total = total + EXP(x - top)
    return LOG(total) + top


def _shift(x: Any, by: int) -> Any:
    """The last axis moved ``by`` places back, NEVER entering in front."""
    entering = BROADCAST(scalar(NEVER, x), shape=(x.shape[0], by))
    return CONCAT(entering, x, axis=1)[:, : x.shape[1]]


@op
def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """-log of the probability of each target, summed over all alignments with ``output``.

    Args:
        target: class numbers (batch, labels).
        output: logits (batch, time, classes).
        target_length, output_length: how many labels and times of each row count (batch,).
        mask_index: the class that stands for no label.

    The loss is infinite, with gradient 0, where the time is too short for the labels.
    """
    target, logits = as_tensor(target).astype(dtypes.int32), inexact(output)
    if target.ndim != 2 or logits.ndim != 3 or target.shape[0] != logits.shape[0]:
        raise ShapeError(
            f"ctc_loss: target {tuple(target.shape)} must be (batch, labels) and output {tuple(logits.shape)} "
            "(batch, time, classes)."
        )
    (batch, labels), (_, time, classes) = target.shape, logits.shape
    lengths = as_tensor(target_length).astype(dtypes.int32).reshape((batch, 1))
    times = as_tensor(output_length).astype(dtypes.int32).reshape((batch, 1))
    blank = as_dim(mask_index) % classes
    log_p = log_softmax(logits.astype(dtypes.float32) if logits.dtype in HALF else logits)

    # The labels with a blank before, between and after: the states of a path.
    blanks = constant(np.full((batch, labels, 1), blank, np.int32))
    states = CONCAT(blanks, target.reshape((batch, labels, 1)), axis=2).reshape((batch, 2 * labels))
    states = CONCAT(states, constant(np.full((batch, 1), blank, np.int32)), axis=1)
    count = 2 * labels + 1
    at = BROADCAST(states.reshape((batch, 1, count)), shape=(batch, time, count))
    emitted = take_along_axis(log_p, at, 2).transpose((1, 0, 2))

    # A path may skip the blank between two different labels. It starts before the first time, on the first blank.
    before = CONCAT(constant(np.full((batch, 2), -1, np.int32)), states, axis=1)[:, :count]
    skips = states != before
    number = constant(np.arange(count, dtype=np.int32).reshape(1, count))
    start = constant(np.where(np.arange(count) == 0, 0, np.full((batch, count), NEVER)).astype(log_p.dtype))
    never = scalar(NEVER, log_p)

    def step(alpha: Any, x: Any) -> tuple[Any, None]:
        log_here, t = x
        moved = _log_sum(alpha, _shift(alpha, 1), SELECT(skips, _shift(alpha, 2), never))
        return SELECT(t < times, moved + log_here, alpha), None

    alpha, _ = scan(step, start, (MAX(emitted, never), constant(np.arange(time, dtype=np.int32))))
    final = SELECT((number == 2 * lengths) | (number == 2 * lengths - 1), alpha, never)
    top = STOP_GRADIENT(REDUCE_MAX(final, axes=(1,)))
    possible = top > NEVER / 2
    loss = -(LOG(EXP(final - top.reshape((batch, 1))).sum(1)) + top)
    return SELECT(possible, loss, scalar(np.inf, loss))


def _check_sequences(inputs: Any, lengths: Any) -> None:
    if inputs.ndim != 3 or tuple(lengths.shape) != (inputs.shape[0],):
        raise ShapeError(
            f"ctc_decode: inputs {tuple(inputs.shape)} must be (batch, time, classes) and lengths "
            f"{tuple(lengths.shape)} (batch,)."
        )


@op
def ctc_greedy_decode(
    inputs: Any, sequence_lengths: Any, merge_repeated: bool = True, mask_index: int | None = None
) -> tuple[Any, Any]:
    """The best class at each time, as labels: (1, batch, time), -1 behind the last; and -sum of the scores (batch, 1).

    ``mask_index`` None means the last class.
    """
    x, lengths = inexact(inputs), as_tensor(sequence_lengths).astype(dtypes.int32)
    _check_sequences(x, lengths)
    batch, time, classes = x.shape
    blank = (classes - 1 if mask_index is None else as_dim(mask_index)) % classes
    times = constant(np.arange(time, dtype=np.int32).reshape(1, time))
    over = times >= lengths.reshape((batch, 1))
    best = SELECT(over, constant(np.asarray(blank, np.int32)), ARGMAX(x, axis=2))
    scores = SELECT(over, scalar(0, x), REDUCE_MAX(x, axes=(2,)))
    dropped = best == blank
    if merge_repeated and time > 1:
        again = CONCAT(constant(np.zeros((batch, 1), bool)), best[:, 1:] == best[:, :-1], axis=1)
        dropped = dropped | again
    order = ARGSORT(dropped, axis=1, descending=False)  # stable: what is kept comes first, in its order
    labels = take_along_axis(SELECT(dropped, constant(np.asarray(-1, np.int32)), best), order, 1)
    return labels.reshape((1, batch, time)), -scores.sum(1, keepdims=True)


def _beams(log_p: np.ndarray, blank: int, width: int) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest label sequences of one row (time, classes), best first, by prefix beam search."""
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}  # ends in a blank, ends in its label
    for here in log_p.astype(np.float64):
        found: dict[tuple[int, ...], list[float]] = {}
        for prefix, (with_blank, with_label) in beams.items():
            total = np.logaddexp(with_blank, with_label)
            stay = found.setdefault(prefix, [-np.inf, -np.inf])
            stay[0] = np.logaddexp(stay[0], total + here[blank])
            if prefix:
                stay[1] = np.logaddexp(stay[1], with_label + here[prefix[-1]])
            for label, score in enumerate(here):
                if label != blank:
                    entering = with_blank if prefix and prefix[-1] == label else total
                    longer = found.setdefault((*prefix, label), [-np.inf, -np.inf])
                    longer[1] = np.logaddexp(longer[1], entering + score)
        ranked = sorted(found.items(), key=lambda item: -np.logaddexp(item[1][0], item[1][1]))
        beams = {prefix: (scores[0], scores[1]) for prefix, scores in ranked[:width]}
    return [(prefix, float(np.logaddexp(*scores))) for prefix, scores in beams.items()]


@op
def ctc_beam_search_decode(
    inputs: Any, sequence_lengths: Any, beam_width: int = 100, top_paths: int = 1, mask_index: int | None = None
) -> tuple[Any, Any]:
    """The likeliest label sequences: (top_paths, batch, time), -1 behind the last; and log scores (batch, top_paths).

    The search runs on the host, in Python. ``mask_index`` None means the last class.
    """
    x, lengths = inexact(inputs), as_tensor(sequence_lengths).astype(dtypes.int32)
    _check_sequences(x, lengths)
    batch, time, classes = x.shape
    blank = (classes - 1 if mask_index is None else as_dim(mask_index)) % classes

    def search(log_p: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        paths = np.full((top_paths, batch, time), -1, np.int32)
        scores = np.full((batch, top_paths), -np.inf, log_p.dtype)
        for b in range(batch):
            for i, (labels, score) in enumerate(_beams(log_p[b, : int(lengths[b])], blank, beam_width)[:top_paths]):
                paths[i, b, : len(labels)], scores[b, i] = labels, score
        return paths, scores

    log_p = STOP_GRADIENT(log_softmax(x))
    specs = [TensorSpec((top_paths, batch, time), "int32"), TensorSpec((batch, top_paths), x.dtype)]
    paths, scores = callback(search, [log_p, lengths], specs)
    return paths, scores
