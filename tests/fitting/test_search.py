"""What the search says of its starts, against least squares within bounds by SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from tests.fitting.planted import CHECKPOINTS, SIGMOID, noisy
from tsl_jax.fitting.xla.projection import CurveBlock
from tsl_jax.fitting.xla.search import ranked_starts


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("shift", [0.0, -3.0, -20.0])  # the mean inside of the bounds, about the lower one, far below
def test_a_starts_gain_is_how_much_its_template_lowers_the_rss_of_the_mean(uneven, shift):
    x, losses = np.linspace(0, 1, CHECKPOINTS, dtype=np.float32), noisy() + np.float32(shift)
    weights = np.random.default_rng(0).uniform(0.5, 1, losses.shape) if uneven else np.ones(losses.shape)
    weights = weights.astype(np.float32)
    least, most = np.zeros(len(losses), np.float32), np.full(len(losses), 1e3, np.float32)
    block = CurveBlock(*map(jnp.asarray, (x, losses.T, weights.T, least, most)))
    starts, gains = (np.asarray(a) for a in ranked_starts(SIGMOID, block, 1))
    mean = np.average(losses, axis=1, weights=weights)
    assert shift == 0 or (mean < 0).any()
    rows = zip(losses.astype(float), weights.astype(float), starts[0].T, strict=True)
    for k, (y, w, theta) in enumerate(rows):
        f = np.asarray(SIGMOID.shape(jnp.asarray(x), jnp.asarray(theta)[:, None]), float).ravel()
        root = np.sqrt(w)[:, None]
        found = lsq_linear(root * np.stack([1 - f, f], axis=1), root[:, 0] * y, (0, 1e3), tol=1e-12)
        spread = np.sum(w * (y - mean[k]) ** 2)
        # The search keeps the first bits of a gain, and float32's digits of sums of squares.
        assert abs(spread - 2 * found.cost - gains[0, k]) < 1e-3 * (spread + abs(gains[0, k]))
