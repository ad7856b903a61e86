"""`keras.applications` with random weights: they build, and predict what the reference engine predicts.

A few small ones that between them have every kind of layer; HORNBEAM_TEST_APPLICATIONS=all takes all of them.
`scripts/round-trips --applications` compares with Keras on JAX.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras
from tests.round_trips.applications import CLASSES, images, make, names
from tests.round_trips.worker import relative

FEW = ["ConvNeXtTiny", "MobileNet", "MobileNetV3Small"]
ALL = os.environ.get("HORNBEAM_TEST_APPLICATIONS") == "all"
SIDE = 75 if ALL else 32  # pixels; some want 75


@pytest.mark.timeout(1800 if ALL else 300)
@pytest.mark.parametrize("name", names(keras) if ALL else FEW)
def test_application(name):
    keras.utils.set_random_seed(1)
    model = make(keras, name, SIDE)
    found = model.predict(images(SIDE), verbose=0)
    assert found.shape == (2, CLASSES) and np.isfinite(found).all() and np.ptp(found) > 0
    with hb.Session(engine="reference"):
        expected = model.predict(images(SIDE), verbose=0)
    assert relative(found, expected) < 1e-5
