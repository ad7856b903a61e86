"""``tf.keras``: Keras itself, in the dress that it has inside TensorFlow (``keras._tf_keras.keras``)."""

import importlib
import sys

from hornbeam.keras_setup import load
from hornbeam.tensorflow.aliases import KERAS

load()
sys.modules[__name__] = importlib.import_module(KERAS)
