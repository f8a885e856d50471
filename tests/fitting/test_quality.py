"""Solved fraction against an independent oracle, and errors against standard errors, on planted sigmoids."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks.fitting import certified, oracle
from benchmarks.fitting.peers import tsl_jax_fit
from benchmarks.fitting.problems import NOISE_LEVELS
from benchmarks.fitting.quality import judge
from benchmarks.fitting.tolerances import ORACLE_AGREEMENT, P_VALUE, SOLVED_FRACTION
from tests.problems import Cell, identifiable, quality_rows, sigmoids
from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import fit

# No cell of the table may hide behind the others. Without noise, of 16 checkpoints 0.7% of the curves (109 and 123 of
# 16,384, by XLA and in C++) end just above the floor that the input's precision sets: which ones is luck of rounding.
_UNSOLVED_PER_CELL, _UNSOLVED_WITHOUT_NOISE = 1, {"xla": 1, "native": 5}
# Of the tests of rss and errors, which are one program: as many checkpoints as `identifiable` has.
_CURVES, _CHECKPOINTS = 2000, 128


@pytest.mark.parametrize("row", list(quality_rows()), ids=lambda row: str(row[0][:3]))
def test_what_is_kept_of_the_search_is_what_it_finds(row):
    problem = certified.problem_of(row)
    some = np.random.default_rng(len(problem)).integers(0, len(problem), 6)
    kept, found = certified.best_of(row, problem)[some], oracle.best_known(problem[some])
    np.testing.assert_allclose(kept.rss, found.rss, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(oracle.rss_of(problem[some], kept.params(problem)), kept.rss, rtol=1e-6, atol=1e-12)


@pytest.mark.usefixtures("each_kernel")
def test_reported_rss_is_the_rss_of_the_reported_parameters():
    problem = sigmoids(seed=3, num_curves=_CURVES, num_checkpoints=_CHECKPOINTS)
    found = fit(Sigmoid(), jnp.asarray(problem.time), problem.losses)
    params = {name: np.asarray(value) for name, value in found.params.items()}
    np.testing.assert_allclose(found.rss, oracle.rss_of(problem, params), rtol=1e-3)


@pytest.mark.usefixtures("each_kernel")
def test_errors_match_the_standard_errors():
    seed, num = 11, _CURVES
    problem = identifiable(seed, num)
    found = fit(Sigmoid(), jnp.asarray(problem.time), problem.losses)
    for name, truth in problem.truth.items():
        z = (np.asarray(found.params[name], float) - truth) / np.asarray(found.stderr[name], float)
        p_value = stats.kstest(z, stats.t(len(problem.time) - 4).cdf).pvalue
        print(f"{name}, seed {seed}: mean {z.mean():.3f}, standard deviation {z.std():.3f}, p {p_value:.3f}")
        assert abs(z.mean()) < 4 / np.sqrt(num)
        assert abs(z.std() - 1) < 4 / np.sqrt(2 * num)
        assert p_value > P_VALUE


@pytest.mark.usefixtures("optimised")  # to the end of this file: what users run is what is judged
def test_999_of_1000_noisy_sigmoids_are_solved(each_kernel):
    total, failures = 0, {}
    for row in quality_rows():
        joined = certified.problem_of(row)
        for cell, problem, _, _, solved in judge(row, joined, certified.best_of(row, joined)):
            total += len(problem)
            if not solved.all():
                failures[cell] = np.flatnonzero(~solved).tolist()
    unsolved = sum(map(len, failures.values()))
    print(f"{total - unsolved} of {total} solved; unsolved curves: {failures}")
    assert unsolved <= (1 - SOLVED_FRACTION) * total, failures
    for cell, curves in failures.items():
        tiny = cell.noise == 0 and cell.checkpoints == 16
        assert len(curves) <= (_UNSOLVED_WITHOUT_NOISE[each_kernel] if tiny else _UNSOLVED_PER_CELL), failures


@pytest.mark.parametrize(
    "cell",
    [
        Cell("log", "even", 16, 1.0),
        Cell("log", "geometric", 16, 0.3),
        Cell("log", "geometric", 64, 0.1),
        Cell("log", "even", 64, 1.0),
        Cell("linear", "even", 128, 0.03),
    ],
)
@pytest.mark.usefixtures("each_kernel")
def test_as_good_as_scipy_from_nine_starts(cell):
    # The definition of "best known" itself, for the engine and for the faster search that stands in for it.
    problem = cell.problem(24)
    nine = oracle.scipy_best(problem, num_starts=9)
    search = oracle.best_known(problem)
    floor = oracle.rounding_floor(problem, search)
    assert np.all(search.rss <= (1 + ORACLE_AGREEMENT) * nine.rss + floor)
    # As many rows as the row of the table has, whose program is then this one's as well.
    num_rows = len(NOISE_LEVELS) * certified.QUALITY_CURVES[cell.checkpoints]
    repeated = np.resize(problem.losses, (num_rows, cell.checkpoints))
    found = {name: value[: len(problem)] for name, value in tsl_jax_fit(problem)(repeated).items()}
    assert oracle.solved(problem, oracle.rss_of(problem, found), nine).all()
