"""Keras's NumPy-like operations."""

from keras_hornbeam.src.ops.arrays import *
from keras_hornbeam.src.ops.elementwise import *
from keras_hornbeam.src.ops.statistics import *
