"""What tokens with a second event hold of the missing derivative: planted parts, and noise between runs."""

import numpy as np
import pytest

from tsl_jax.spectrum import SpectrumGrid, second_events

GRID = SpectrumGrid(1.0, 1000.0, time_bins=64)
STEP = np.geomspace(1.0, 1000.0, 60)
U = np.log(STEP)


def bump(centre, width=1.0):
    return np.tanh((U - centre) / width)


def test_shares_of_all_parts_add_up():
    parts = [0.3 * bump(2), -0.1 * bump(4), 0.2 * bump(5, 0.5)]
    gap = np.sum(parts, axis=0)
    shares = [float(second_events(GRID, STEP, gap, part, 0 * gap, 0.1).fraction) for part in parts]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert len({round(share, 3) for share in shares}) == 3
    found = second_events(GRID, STEP, gap, parts[0], gap - parts[0], 0.1)
    assert float(found.constants) == pytest.approx(1 - shares[0], abs=1e-4)


def test_the_missing_derivative_is_that_of_the_gap():
    found = second_events(GRID, STEP, bump(3.5, 2.0), 0 * U, 0 * U, 0.0, bandwidth=0.05)
    expected = -1 / (2 * np.cosh((GRID.centres - 3.5) / 2) ** 2)
    np.testing.assert_allclose(found.missing, expected, atol=0.01)
    assert float(found.fraction) == 0


def test_noise_between_runs_is_that_of_one_run():
    """Two runs that scatter alike around their mean: each lies from it by the difference over root two."""
    rng = np.random.default_rng(0)
    mean, noise = -bump(3.5), 0.02
    sizes = []
    for _ in range(40):
        runs = mean + noise * rng.standard_normal((2, len(U)))
        found = second_events(GRID, STEP, 0 * U, 0 * U, 0 * U, 0.0, mean_loss=runs[0], other_run=runs[1])
        sizes.append(float(found.between_runs))
    exact = second_events(GRID, STEP, mean, 0 * U, 0 * U, 0.0).missing
    one = [second_events(GRID, STEP, noise * rng.standard_normal(len(U)), 0 * U, 0 * U, 0.0).missing for _ in range(40)]
    expected = np.sqrt(np.mean(np.square(one)) / np.mean(np.square(exact)))
    print(np.sqrt(np.mean(np.square(sizes))), expected)
    assert np.sqrt(np.mean(np.square(sizes))) == pytest.approx(expected, rel=0.15)


def test_nothing_missing_has_no_shares_and_no_other_run_no_noise():
    found = second_events(GRID, STEP, 0 * U, 0 * U, 0 * U, 0.0)
    assert np.isnan(found.fraction)
    assert np.isnan(found.between_runs)
