"""Keras's recurrent loops, as scans; LSTM and GRU with the input's part of all steps computed at once."""

from __future__ import annotations

from keras.src import tree

from hornbeam.ops import control
from hornbeam.ops.array import flip, stack, swapaxes, where
from hornbeam.ops.creation import zeros_like
from keras_hornbeam.src.ops.core import cast, convert_to_tensor

__all__ = ["bidirectional_gru", "bidirectional_lstm", "cudnn_ok", "gru", "lstm", "rnn"]


def _time_first(x):
    return swapaxes(x, 0, 1)


def _same_structure(like, value):
    """``value`` with the containers of ``like``: cells return lists where they were given tuples, and the reverse."""
    return tree.pack_sequence_as(like, tree.flatten(value))


def _beside(mask, x):
    """A mask (batch, 1), shaped to meet ``x`` (batch, ...)."""
    return mask.reshape((*mask.shape[:1], *(1,) * (x.ndim - 1))) if x.ndim else mask


def _choose(mask, new, old):
    """States that stay as they were where the mask is False."""
    return tree.map_structure(lambda n, o: where(_beside(mask, n), n, o), new, old)


def _at(inputs, t):
    return tree.map_structure(lambda x: x[t], inputs)


def _mask_by_time(mask, time_major):
    """A mask as bools (time, batch, 1)."""
    mask = cast(mask, "bool")
    mask = mask[..., None] if mask.ndim == 2 else mask
    return mask if time_major else _time_first(mask)


def rnn(
    step_function,
    inputs,
    initial_states,
    go_backwards=False,
    mask=None,
    constants=None,
    unroll=False,
    input_length=None,
    time_major=False,
    zero_output_for_mask=False,
    return_all_outputs=True,
):
    """Returns the last output, all outputs, and the last states; see ``keras.backend.rnn``."""
    inputs = tree.map_structure(convert_to_tensor, inputs)
    if not time_major:
        inputs = tree.map_structure(_time_first, inputs)
    if mask is not None:
        mask = _mask_by_time(mask, time_major)
    states = tree.map_structure(convert_to_tensor, initial_states)
    if unroll:
        last, outputs, states = _unrolled(
            step_function, inputs, tuple(states), go_backwards, mask, tuple(constants or ()), return_all_outputs
        )
    else:
        last, outputs, states = _scanned(step_function, inputs, states, go_backwards, mask, zero_output_for_mask)
    if not time_major:
        outputs = tree.map_structure(_time_first, outputs)
    return last, outputs, states


def _unrolled(step_function, inputs, states, go_backwards, mask, constants, return_all_outputs):
    """A Python loop over the steps."""
    steps = tree.flatten(inputs)[0].shape[0]
    if not steps:
        raise ValueError("Unrolling needs inputs with at least one step along the time axis.")
    outputs: list = []
    previous = None
    for t in reversed(range(steps)) if go_backwards else range(steps):
        output, new = step_function(_at(inputs, t), states + constants)
        new = _same_structure(states, new)
        if mask is not None:
            output = where(_beside(mask[t], output), output, zeros_like(output) if previous is None else previous)
            new = _choose(mask[t], new, states)
        states, previous = new, output
        outputs = [*outputs, output] if return_all_outputs else [output]
    return previous, stack(outputs, 0), states


def _scanned(step_function, inputs, states, go_backwards, mask, zero_output_for_mask):
    """A scan. A masked step keeps the states, and repeats as output what the first state holds."""

    def settle(like, new):
        """New states in the structure and dtypes that the loop carries."""
        return tree.map_structure(lambda s, n: convert_to_tensor(n, s.dtype), like, _same_structure(like, new))

    def step(carry, x):
        output, new = step_function(x, carry)
        return settle(carry, new), output

    def masked_step(carry, x):
        x, keep = x
        keep = keep.reshape((keep.shape[0], -1))[:, :1]
        output, new = step_function(x, carry)
        if zero_output_for_mask:
            before = zeros_like(output)
        else:
            before = carry[-1][0] if tree.is_nested(carry[0]) else carry[0]
        output = where(_beside(keep, output), output, before)
        return _choose(keep, settle(carry, new), carry), output

    if mask is None:
        states, outputs = control.scan(step, states, inputs, reverse=go_backwards)
    else:
        states, outputs = control.scan(masked_step, states, (inputs, mask), reverse=go_backwards)
    if go_backwards:
        outputs = tree.map_structure(lambda y: flip(y, 0), outputs)
    return tree.map_structure(lambda y: y[-1], outputs), outputs, states


# -- LSTM and GRU ------------------------------------------------------------------------------------------------------


def cudnn_ok(activation, recurrent_activation, unroll, use_bias=True):
    return False


def _check_case(mask, unroll):
    """Keras falls back to ``rnn`` on NotImplementedError. It does not tell here what a masked step should put out."""
    if mask is not None or unroll:
        raise NotImplementedError("Masked and unrolled loops go the general way.")


def _projected(inputs, kernel, bias, go_backwards):
    """The input's part of every step, (time, batch, gates): one product for all of them, steps in order of work."""
    x = _time_first(inputs)  # before the product: it is wider
    x = (flip(x, 0) if go_backwards else x) @ kernel
    return x if bias is None else x + bias


def _run(step, states, x, return_sequences):
    """Scan ``step`` over the projected inputs: the last output, the outputs as (batch, time, units), and the states."""
    states, outputs = control.scan(step, states, x)
    last = states[0]
    return last, _time_first(outputs) if return_sequences else last[:, None], list(states)


def _operands(inputs, states, kernel, recurrent_kernel, bias):
    """Everything as tensors of the kernel's dtype."""
    inputs, kernel, recurrent_kernel = (convert_to_tensor(v) for v in (inputs, kernel, recurrent_kernel))
    dtype = kernel.dtype
    states = tuple(convert_to_tensor(s, dtype) for s in states)
    bias = None if bias is None else convert_to_tensor(bias, dtype)
    return convert_to_tensor(inputs, dtype), states, kernel, convert_to_tensor(recurrent_kernel, dtype), bias


def lstm(
    inputs,
    initial_state_h,
    initial_state_c,
    mask,
    kernel,
    recurrent_kernel,
    bias,
    activation,
    recurrent_activation,
    return_sequences=False,
    go_backwards=False,
    unroll=False,
):
    _check_case(mask, unroll)
    inputs, states, kernel, recurrent_kernel, bias = _operands(
        inputs, (initial_state_h, initial_state_c), kernel, recurrent_kernel, bias
    )
    units = recurrent_kernel.shape[0]

    def step(carry, x):
        h, c = carry
        inner = h @ recurrent_kernel
        # The gates lie side by side. Each takes its part of both operands, so that their sum is never stored.
        parts = [slice(k * units, (k + 1) * units) for k in range(4)]
        i, f, candidate, o = (x[:, part] + inner[:, part] for part in parts)
        c = recurrent_activation(f) * c + recurrent_activation(i) * activation(candidate)
        h = recurrent_activation(o) * activation(c)
        return (h, c), h

    x = _projected(inputs, kernel, bias, go_backwards)
    return _run(step, states, x, return_sequences)


def gru(
    inputs,
    initial_state,
    mask,
    kernel,
    recurrent_kernel,
    bias,
    activation,
    recurrent_activation,
    return_sequences=False,
    go_backwards=False,
    unroll=False,
    reset_after=True,
):
    _check_case(mask, unroll)
    inputs, states, kernel, recurrent_kernel, bias = _operands(
        inputs, (initial_state,), kernel, recurrent_kernel, bias
    )
    units = recurrent_kernel.shape[0]
    input_bias, recurrent_bias = (bias, None) if bias is None or not reset_after else (bias[0], bias[1])

    def reset_after_step(carry, x):
        (h,) = carry
        inner = h @ recurrent_kernel
        inner = inner if recurrent_bias is None else inner + recurrent_bias
        z = recurrent_activation(x[:, :units] + inner[:, :units])
        r = recurrent_activation(x[:, units : 2 * units] + inner[:, units : 2 * units])
        candidate = activation(x[:, 2 * units :] + r * inner[:, 2 * units :])
        h = z * h + (1 - z) * candidate
        return (h,), h

    def reset_before_step(carry, x):
        (h,) = carry
        inner = h @ recurrent_kernel[:, : 2 * units]
        z = recurrent_activation(x[:, :units] + inner[:, :units])
        r = recurrent_activation(x[:, units : 2 * units] + inner[:, units:])
        candidate = activation(x[:, 2 * units :] + (r * h) @ recurrent_kernel[:, 2 * units :])
        h = z * h + (1 - z) * candidate
        return (h,), h

    step = reset_after_step if reset_after else reset_before_step
    x = _projected(inputs, kernel, input_bias, go_backwards)
    return _run(step, states, x, return_sequences)


def _both_ways(forward, backward, return_sequences):
    """Both results, the backward outputs in the order of the inputs."""
    last, outputs, states = backward
    return forward, (last, flip(outputs, 1) if return_sequences else outputs, states)


def bidirectional_lstm(
    inputs,
    fwd_initial_state_h,
    fwd_initial_state_c,
    bwd_initial_state_h,
    bwd_initial_state_c,
    mask,
    fwd_kernel,
    fwd_recurrent_kernel,
    fwd_bias,
    bwd_kernel,
    bwd_recurrent_kernel,
    bwd_bias,
    activation,
    recurrent_activation,
    return_sequences=False,
    unroll=False,
):
    forward = lstm(
        inputs, fwd_initial_state_h, fwd_initial_state_c, mask, fwd_kernel, fwd_recurrent_kernel, fwd_bias,
        activation, recurrent_activation, return_sequences, False, unroll,
    )  # fmt: skip
    backward = lstm(
        inputs, bwd_initial_state_h, bwd_initial_state_c, mask, bwd_kernel, bwd_recurrent_kernel, bwd_bias,
        activation, recurrent_activation, return_sequences, True, unroll,
    )  # fmt: skip
    return _both_ways(forward, backward, return_sequences)


def bidirectional_gru(
    inputs,
    fwd_initial_state,
    bwd_initial_state,
    mask,
    fwd_kernel,
    fwd_recurrent_kernel,
    fwd_bias,
    bwd_kernel,
    bwd_recurrent_kernel,
    bwd_bias,
    activation,
    recurrent_activation,
    return_sequences=False,
    unroll=False,
    reset_after=True,
):
    forward = gru(
        inputs, fwd_initial_state, mask, fwd_kernel, fwd_recurrent_kernel, fwd_bias,
        activation, recurrent_activation, return_sequences, False, unroll, reset_after,
    )  # fmt: skip
    backward = gru(
        inputs, bwd_initial_state, mask, bwd_kernel, bwd_recurrent_kernel, bwd_bias,
        activation, recurrent_activation, return_sequences, True, unroll, reset_after,
    )  # fmt: skip
    return _both_ways(forward, backward, return_sequences)
