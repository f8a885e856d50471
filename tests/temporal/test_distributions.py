"""Quantiles and tails against scipy."""

import numpy as np
import pytest
from scipy import stats

from tsl_jax.temporal.distributions import f_tail, student_quantile


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_student_quantiles(level):
    degrees = np.array([4, 8, 20, 200])
    np.testing.assert_allclose(student_quantile(level, degrees), stats.t.ppf((1 + level) / 2, degrees), rtol=0.025)
    np.testing.assert_allclose(
        student_quantile(level, degrees[1:]), stats.t.ppf((1 + level) / 2, degrees[1:]), rtol=2e-3
    )


@pytest.mark.parametrize(("above", "below"), [(1, 5), (7, 57), (11, 2000)])
def test_tails_of_f_down_to_small_probabilities(above, below):
    statistic = np.array([0.0, 0.3, 1.0, 3.0, 9.0])
    expected = stats.f.sf(statistic, above, below)
    np.testing.assert_allclose(f_tail(statistic, above, below), expected, rtol=1e-3, atol=1e-30)
