"""Keras's NumPy-like operations."""

from keras_hornbeam.src.ops.arrays import *  # noqa: F403
from keras_hornbeam.src.ops.elementwise import *  # noqa: F403
from keras_hornbeam.src.ops.statistics import *  # noqa: F403
