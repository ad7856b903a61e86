"""Runs a test suite's Keras on Hornbeam:  pytest -p hornbeam.keras_pytest

pytest imports a `-p` plug-in before any conftest.py, and so before anything imports Keras.
"""

from hornbeam.keras_setup import enable

enable()
