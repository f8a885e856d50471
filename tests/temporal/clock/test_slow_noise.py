"""Noise from row to row: the models' likelihoods and variances by dense linear algebra, and gaps."""

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from tsl_jax.temporal.clock.slow_noise import _models, row_noise

ROWS = 40
RNG = np.random.default_rng(0)
COLUMNS = np.linalg.qr(np.stack([np.ones(ROWS), np.arange(ROWS) ** 0.5], axis=1))[0]
SUMS = np.stack([COLUMNS[:, 1], np.linspace(0, 0.3, ROWS)], axis=1)


def residuals():
    noise = np.cumsum(RNG.normal(size=ROWS)) + RNG.normal(size=ROWS)
    return noise - COLUMNS @ (COLUMNS.T @ noise)


def dense(left, kept):
    """Restricted likelihood, likelihood and variances of each model, matrices and all, in float64."""
    place = np.arange(ROWS)
    found = []
    for correlation, white in zip(*(np.asarray(part, np.float64) for part in _models(ROWS, np.float32)), strict=True):
        matrix = (1 - white) * correlation ** abs(place[:, None] - place) + white * np.eye(ROWS)
        inverse = np.linalg.inv(matrix[np.ix_(kept, kept)])
        columns, y = COLUMNS[kept], left[kept]
        within = columns.T @ inverse @ columns
        rest = y @ inverse @ y - columns.T @ inverse @ y @ np.linalg.solve(within, columns.T @ inverse @ y)
        scale = np.linalg.slogdet(matrix[np.ix_(kept, kept)])[1]
        degrees = kept.sum() - 2
        restricted = -0.5 * (scale + np.linalg.slogdet(within)[1] + degrees * np.log(rest))
        plain = -0.5 * (scale + kept.sum() * np.log(rest))
        sums = np.where(kept[:, None], SUMS, 0)
        found.append([restricted, plain, *(rest / degrees * np.diag(sums.T @ matrix @ sums))])
    return np.array(found)


@pytest.mark.parametrize("gaps", [False, True])
def test_models_are_weighed_as_dense_matrices_say(gaps):
    kept = np.ones(ROWS, bool) if not gaps else np.arange(ROWS) % 5 != 3
    left = np.where(kept, residuals(), 0.0)
    columns, sums = (np.where(kept[:, None], values, 0.0) for values in (COLUMNS, SUMS))
    noise = row_noise(*(np.float32(values) for values in (columns, left, sums)), kept)
    exact = dense(left, kept)
    weight = np.exp(exact[:, 0] - exact[:, 0].max())
    np.testing.assert_allclose(noise.weight, weight / weight.sum(), atol=2e-4)
    np.testing.assert_allclose(noise.variance, exact[:, 2:], rtol=5e-3)
    assert float(noise.log_likelihood) == pytest.approx(exact[:, 1].max(), abs=0.01)


def test_the_half_width_is_a_quantile_of_the_mixture():
    noise = row_noise(*(np.float32(values) for values in (COLUMNS, residuals(), SUMS)), np.ones(ROWS, bool))
    half = float(noise.half_width(0.9, 1))
    assert float(noise.probability(half, 1)) == pytest.approx(0.1, abs=1e-3)
    tails = 2 * scipy.stats.t.sf(half / np.sqrt(np.asarray(noise.variance)[:, 1]), ROWS - 2)
    assert np.sum(np.asarray(noise.weight) * tails) == pytest.approx(0.1, abs=2e-3)


def test_many_rows_are_averaged_and_slow_noise_is_still_seen():
    rows = 9000
    slow = 0.1 * scipy.signal.lfilter([1.0], [1.0, -0.998], RNG.normal(size=rows + 5000))[5000:]
    columns = np.full((rows, 1), rows**-0.5, np.float32)
    left = slow + RNG.normal(size=rows)
    half = float(row_noise(columns, np.float32(left - left.mean()), columns, np.ones(rows, bool)).half_width(0.5, 0))
    exact = np.sqrt(0.1**2 / (1 - 0.998) ** 2 + 1)  # from the spectral density at 0; white noise alone would give 1
    assert 0.4 * exact < half < 2 * exact
