"""Whether a run has begun to slow down: before it has, no law says where it ends."""

import numpy as np

#: The most that the slope at the end of what was seen is of that at its beginning, in a run that has slowed down; runs
#: of 25M to 2B parameters have 0.03 to 0.77 from 10% on, a small one that is still speeding up 1.1.
SLOWED = 0.9
#: How far back the slopes are compared, as a factor of the clock; fewest rows for that.
_BACK, _FEWEST = 8.0, 5


def slope_ratio(log_clock: np.ndarray, loss: np.ndarray) -> float:
    """The slope at the last row over that at the first, by a parabola over the logarithm of the clock; NaN: too few
    rows, or a clock that stands still.

    A falling power law ``A·clock^-α`` has ``(last clock / first clock)^-α``.
    """
    kept = log_clock >= log_clock[-1] - np.log(_BACK)
    x, y = log_clock[kept], loss[kept]
    if len(x) < _FEWEST or not x[-1] > x[0]:  # of rates next to 0 the clock does not move
        return float("nan")
    place = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
    _, linear, square = np.linalg.lstsq(np.stack([np.ones_like(x), place, place**2], axis=1), y)[0]
    first, last = linear - 2 * square, linear + 2 * square
    return float(last / first) if first < 0 else float("inf")
