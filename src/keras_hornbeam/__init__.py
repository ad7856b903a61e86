"""Keras's view of Hornbeam: the package that Keras loads for the backend named ``hornbeam``.

Thin adapters from Keras's backend contract to ``hornbeam``; no state lives here, as Keras may drop and re-import it.
"""

from hornbeam import __version__

__all__ = ["__version__"]
