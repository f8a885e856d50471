"""Operations of the kernel in C++: each pass over a curve's losses as counted in its source, times the passes it made.

The number of passes is the kernel's own answer, curve by curve; templates count where they are not flat. Counted as by
`benchmarks operations`: a fused product and sum are two, an exponential is one.
"""

import numpy as np

from tsl_jax.fitting import native
from tsl_jax.fitting.xla.search import FLAT, NUM_RUNS

#: Of the shape, its complement and its slopes at one checkpoint; see families.h.
_SHAPE = {"sigmoid": 11, "hyperbola": 5, "power_law": 5}
#: As kGroup of simd.h.
GROUP = 4
#: For one template and one curve: the plateaus, their ways back to their bounds, the gain, whether it is the greatest.
_GAIN = 17


def flops(target: str, family: str, inputs, outputs) -> tuple[float, float]:
    """Operations, and exponentials among them, of one call."""
    if target == native.SOLVE:
        curves, n = inputs[1].shape
        shapes, steps = np.asarray(inputs[8]), float(np.sum(outputs[3]))
        passes = steps * n
        return passes * _projection(family) + curves * _search(shapes), passes
    if target == native.MEASURE:
        curves, n = inputs[1].shape
        return curves * n * _measure(family), float(curves * n)
    raise ValueError(f"target: got {target!r}, expected {native.SOLVE!r} or {native.MEASURE!r}")


def _projection(family: str) -> int:
    """One pass at one checkpoint, projection.h, for the family's number of theta."""
    k = 2 if family == "sigmoid" else 1
    first = 6 + 10 + 4 * k  # weighted shape and residual; sums of the plateaus; sums of the slopes
    second = 6 + k * (4 + 2) + k * (k + 1)  # residual and rss; projected slopes and descent; normal equations
    return _SHAPE[family] + first + second


def _measure(family: str) -> int:
    """One checkpoint, measure.h: weighted Jacobian and rss, modified Gram-Schmidt, mean and spread, noise, tests."""
    size = 4 if family == "sigmoid" else 3
    columns = 9 + 2 + (size - 2)
    taken_out = sum(1 + 2 * (size - 1 - m) for k in range(size) for m in range(k))
    gram_schmidt = 2 * size + taken_out + sum(2 * (size - k) for k in range(size))
    noise = 2 * 8 + 10 + 5 * size + 2 * size * size  # of the residuals and of what the best step leaves; the sandwich
    step = size * size + 4 * size + 9 + 2 * size + 3  # a row of Q, the best step, what is left of its column
    tests = 5 * 4 + 6 + 12 + 18  # five columns whitened, their sums, the gains of the event and of the step
    return _SHAPE[family] + columns + gram_schmidt + 10 + noise + step + tests


def _search(shapes) -> float:
    """One curve, search.h: a sum over the band of each group of templates, and the gains."""
    templates, n = shapes.shape
    flat_start = np.abs(shapes - shapes[:, :1]) <= FLAT
    flat_end = np.abs(shapes - shapes[:, -1:]) <= FLAT
    begin = np.where(flat_start.all(1), n, np.argmin(flat_start, axis=1))
    end = np.where(flat_end.all(1), 0, n - np.argmin(flat_end[:, ::-1], axis=1))
    length, total = -(-templates // NUM_RUNS), 0.0
    for first in range(0, templates, length):
        for group in range(first, min(first + length, templates), GROUP):
            part = slice(group, min(group + GROUP, first + length, templates))
            total += GROUP * (2 * max(int(end[part].max() - begin[part].min()), 0) + 4 + _GAIN)
    return total + 8 * n  # mean, spread and running sums
