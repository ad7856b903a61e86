"""The operations of Keras's backend contract, by the module in which Keras looks them up."""

from keras_hornbeam.src.ops import core, image, linalg, math, nn, numpy
from keras_hornbeam.src.ops.core import *  # Keras calls core's functions here, too
