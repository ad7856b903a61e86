"""Comparisons: maps from any ordered dtype to bool. With NaN only ``ne`` holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.ir.primitive import Primitive, blocked
from hornbeam.ir.primitives.arith import ANY, FLOATS, INTEGERS, elementwise


def comparison(name: str, numpy: Any, accepts: tuple[Any, ...] = (dtypes.bool_, *INTEGERS, *FLOATS)) -> Primitive:
    return elementwise(
        name,
        numpy,
        blocked,
        lambda s, x, y: s.compare(name, x, y),
        accepts=accepts,
        result=lambda dtype: dtypes.bool_,
    )


EQ = comparison("eq", np.equal, ANY)
NE = comparison("ne", np.not_equal, ANY)
LT = comparison("lt", np.less)
LE = comparison("le", np.less_equal)
GT = comparison("gt", np.greater)
GE = comparison("ge", np.greater_equal)
IS_FINITE = elementwise(
    "is_finite",
    np.isfinite,
    blocked,
    lambda s, x: s.call("is_finite", x),
    accepts=(*FLOATS, *dtypes.COMPLEX),
    result=lambda dtype: dtypes.bool_,
)
