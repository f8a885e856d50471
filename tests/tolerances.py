"""The one table of tolerances of the test suite: relative, for float32 and for float64."""

from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """How far two numbers that should be equal may be apart, relative to their size."""

    float32: float
    float64: float

    def of(self, dtype) -> float:
        """The one for a dtype."""
        return self.float64 if np.dtype(dtype) == np.float64 else self.float32


#: A formula evaluated in two ways.
FORMULA = Tolerance(3e-5, 1e-12)
#: Parameters from losses without noise against the planted ones.
RECOVERY = Tolerance(1e-3, 1e-6)
#: Least sums of squares of one curve, found along two paths.
RSS = Tolerance(1e-4, 1e-9)
#: Parameters of one curve found along two paths, in units of their standard errors.
SAME_MINIMUM = Tolerance(2e-2, 1e-3)
#: Standard errors against another way to compute them, at a point that may differ by `SAME_MINIMUM`.
STDERR = Tolerance(2e-2, 1e-4)
#: Derivatives against central finite differences.
DERIVATIVE = Tolerance(2e-2, 1e-4)
