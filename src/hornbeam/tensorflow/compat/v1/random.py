"""``tf.compat.v1.random``: as ``tf.random``, with TensorFlow 1's name for the seed."""

from __future__ import annotations

from hornbeam.tensorflow import random
from hornbeam.tensorflow.names import absent

globals().update({name: value for name, value in vars(random).items() if name[0] != "_" and name != "annotations"})
set_random_seed = random.set_seed
__getattr__ = absent(__name__, globals())
