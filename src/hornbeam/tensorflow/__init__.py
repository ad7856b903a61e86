"""TensorFlow's names over Hornbeam: ``from hornbeam import tensorflow as tf``, or ``hornbeam run`` for any program.

What is here means what it means in TensorFlow; what is not is absent, and asking for it says what to write instead.
"""

import importlib as _importlib

from hornbeam.ops.transforms import custom_gradient, stop_gradient
from hornbeam.runtime.tape import GradientTape
from hornbeam.tensorflow import (
    config,
    data,
    debugging,
    dtypes,
    errors,
    image,
    io,
    linalg,
    math,
    nest,
    nn,
    random,
    summary,
    train,
)
from hornbeam.tensorflow.aliases import install
from hornbeam.tensorflow.arrays import *
from hornbeam.tensorflow.control import (
    case,
    cond,
    foldl,
    foldr,
    map_fn,
    scan,
    switch_case,
    vectorized_map,
    while_loop,
)
from hornbeam.tensorflow.debugging import (
    Assert,
    assert_equal,
    assert_greater,
    assert_less,
    assert_rank,
)
from hornbeam.tensorflow.dtypes import *
from hornbeam.tensorflow.functions import function
from hornbeam.tensorflow.graphs import Graph
from hornbeam.tensorflow.initializers import (
    constant_initializer,
    ones_initializer,
    random_normal_initializer,
    random_uniform_initializer,
    zeros_initializer,
)
from hornbeam.tensorflow.lists import TensorArray
from hornbeam.tensorflow.modules import Module
from hornbeam.tensorflow.names import absent as _absent
from hornbeam.tensorflow.scopes import (
    control_dependencies,
    device,
    executing_eagerly,
    init_scope,
    inside_function,
    name_scope,
)
from hornbeam.tensorflow.values import (
    IndexedSlices,
    Tensor,
    TypeSpec,
    UnconnectedGradients,
    Variable,
    gradients,
    numpy_function,
    print,
    timestamp,
)

__version__ = "2.21.0"  # the TensorFlow whose names these are

# What TensorFlow has both in tf.math and at its root.
_MATH = (
    "abs acos acosh add add_n argmax argmin asin asinh atan atan2 atanh clip_by_global_norm clip_by_norm clip_by_value "
    "complex cos cosh cumsum divide equal exp floor greater greater_equal less less_equal logical_and logical_not "
    "logical_or maximum minimum multiply negative not_equal pow reduce_all reduce_any reduce_logsumexp reduce_max "
    "reduce_mean reduce_min reduce_prod reduce_sum round sigmoid sign sin sinh sqrt square squared_difference subtract "
    "tan tanh truediv"
)
globals().update({_name: getattr(math, _name) for _name in _MATH.split()})

_LAZY = {"keras": "hornbeam.tensorflow.keras", "compat": "hornbeam.tensorflow.compat"}
initializers = _importlib.import_module("hornbeam.tensorflow.initializers")
__getattr__ = _absent(__name__, globals(), _LAZY)
