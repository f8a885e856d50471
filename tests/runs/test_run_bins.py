"""Counts in bins against the numbers themselves: quantiles, shares, and rank correlations against scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tsl_jax.runs import rank_correlation
from tsl_jax.runs.bins import LogBins, quantile, signed_edges, signed_index
from tsl_jax.runs.plan import RANK_BINS, _quantiles

BINS = LogBins(1e-3, 1e3, 64)


@pytest.fixture
def values():
    return np.random.default_rng(1).standard_t(3, 50_000)


def test_quantiles_and_shares_are_those_of_the_values(values):
    counts = np.bincount(signed_index(BINS, values), minlength=2 * BINS.number)
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        exact = np.quantile(values, level)
        assert quantile(counts, signed_edges(BINS), level) == pytest.approx(exact, abs=0.002 + 0.002 * abs(exact))
    sizes = np.bincount(BINS.index(np.abs(values)), minlength=BINS.number)
    for border in (0.1, 1.0, 1.645, 20.0):
        assert BINS.below(sizes, np.array(border)) == pytest.approx(np.sum(np.abs(values) < border), abs=50)


def test_what_lies_outside_counts_in_the_bins_at_the_ends():
    assert BINS.index(np.array([0.0, 1e-9, 1e9])).tolist() == [0, 0, BINS.number - 1]
    assert signed_index(BINS, np.array([-1e9, -0.0, 0.0, 1e9])).tolist() == [
        *(0, BINS.number, BINS.number, 2 * BINS.number - 1),
    ]
    assert np.all(np.diff(signed_edges(BINS)) > 0)
    assert np.isnan(quantile(np.zeros(3, int), np.arange(4.0), 0.5))


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("tokens", [60, 3000, 200_000])
@pytest.mark.parametrize("kind", ["normal", "skewed", "ties"])
def test_rank_correlations_are_those_of_scipy(correlation, tokens, kind):
    rng = np.random.default_rng(2)
    both = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], tokens).T
    if kind == "skewed":
        both = np.exp(3 * both)
    if kind == "ties":
        both = np.round(np.maximum(both, -0.3), 1)  # a third of all values are equal, the others in few steps
    edges = _quantiles(np.concatenate(both))
    places = [np.searchsorted(edges, one) for one in both]
    counts = np.zeros((RANK_BINS, RANK_BINS), np.int64)
    np.add.at(counts, tuple(places), 1)
    assert rank_correlation(counts) == pytest.approx(spearmanr(*both).statistic, abs=1e-3)


def test_without_two_different_tokens_there_is_no_rank_correlation():
    assert np.isnan(rank_correlation(np.zeros((3, 3), int)))
    assert np.isnan(rank_correlation(np.array([[4, 3], [0, 0]])))
