"""Keras, running on Hornbeam:

    from hornbeam import keras

This is Keras itself, not a copy: the module puts Keras in its own place, so that `hornbeam.keras is keras`, and
`from hornbeam.keras import layers` and `import hornbeam.keras` mean what they say. No environment variable is needed.

Raises:
    KerasSetupError: Keras cannot run on Hornbeam here, see `hornbeam.keras_setup.load`.
"""

import sys
from typing import TYPE_CHECKING, Any

from hornbeam.keras_setup import load

if TYPE_CHECKING:
    from keras import *  # noqa: F403

    def __getattr__(name: str) -> Any: ...
else:
    sys.modules[__name__] = load()
