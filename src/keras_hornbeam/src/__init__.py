"""What Keras copies into ``keras.src.backend``."""

from keras.src.backend.common.masking import get_keras_mask, set_keras_mask  # keras-hub takes them from there

from keras_hornbeam.src import ops, random, rnn
from keras_hornbeam.src.ops.core import compute_output_spec, device_scope
from keras_hornbeam.src.variable import Variable, name_scope

IS_THREAD_SAFE = False
SUPPORTS_COMPLEX_DTYPES = True
SUPPORTS_GRADIENT = True
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_SPARSE_TENSORS = False

distribution_lib = None

__all__ = [
    "IS_THREAD_SAFE",
    "SUPPORTS_COMPLEX_DTYPES",
    "SUPPORTS_GRADIENT",
    "SUPPORTS_RAGGED_TENSORS",
    "SUPPORTS_SPARSE_TENSORS",
    "Variable",
    "compute_output_spec",
    "device_scope",
    "distribution_lib",
    "get_keras_mask",
    "name_scope",
    "ops",
    "random",
    "rnn",
    "set_keras_mask",
]
