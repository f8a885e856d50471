"""Each status from a case that is made for it, and the numbers that are frozen."""

import numpy as np
import pytest

from tests.fitting.planted import AXIS, CHECKPOINTS, CURVES, clean, fitter, noisy
from tsl_jax import Category, FitOptions, Status
from tsl_jax.fitting import has_parameters

pytestmark = pytest.mark.usefixtures("each_kernel")


def row(values):
    return np.asarray(values, np.float32)


def gap_after(number):
    return row(np.where(np.arange(CHECKPOINTS) < number, noisy()[5], np.nan))


def spoiled(index, value):
    losses = noisy()[5]
    losses[index] = value
    return losses


#: Losses, and the status that they must get.
CASES = {
    "a plain sigmoid": (noisy()[5], Status.CONVERGED),
    "a sigmoid without noise": (clean()[5], Status.CONVERGED),
    "five points": (gap_after(5), (Status.CONVERGED, Status.AT_BOUND)),
    "four points": (gap_after(4), Status.TOO_FEW_POINTS),
    "one point": (gap_after(1), Status.TOO_FEW_POINTS),
    "no point": (gap_after(0), Status.TOO_FEW_POINTS),
    "plus infinity": (spoiled(3, np.inf), Status.NON_FINITE),
    "minus infinity": (spoiled(-1, -np.inf), Status.NON_FINITE),
    "a square beyond float32": (spoiled(3, 1e30), Status.NON_FINITE),
    "all zero": (row(np.zeros(CHECKPOINTS)), Status.FLAT),
    "constant": (row(np.full(CHECKPOINTS, 2.7)), Status.FLAT),
    "constant up to rounding": (
        row(2.7 + 1e-7 * (np.arange(CHECKPOINTS) % 2)),
        Status.FLAT,
    ),
    "constant with gaps": (row(np.where(np.arange(CHECKPOINTS) % 3, 2.7, np.nan)), Status.FLAT),
    "a straight line": (row(8 - 0.5 * np.log(AXIS)), (Status.CONVERGED, Status.AT_BOUND)),
    "down to the least plateau": (row(5 / (1 + (AXIS / 50) ** 3) - 0.2), Status.AT_BOUND),
    "negative losses": (row(noisy()[5] - 50), Status.AT_BOUND),
}


@pytest.fixture(scope="module")
def found():
    losses = np.stack([losses for losses, _ in CASES.values()])
    assert len(losses) == CURVES
    return fitter()(losses)


@pytest.mark.parametrize("name", CASES)
def test_status(found, name):
    losses, expected = CASES[name]
    k = list(CASES).index(name)
    got = Status(int(found.status[k]))
    assert got in (expected if isinstance(expected, tuple) else (expected,))
    has = bool(has_parameters(got))
    values = np.array([value[k] for value in found.params.values()] + [found.rss[k], found.r2[k]])
    assert np.all(np.isfinite(values) if has else np.isnan(values))
    assert (found.category[k] == Category.NONE) == (not has)
    assert found.num_points[k] == (
        0 if got == Status.NON_FINITE and np.isinf(losses).any() else np.isfinite(losses).sum()
    )
    if got in (Status.FLAT, Status.TOO_FEW_POINTS) and np.isfinite(losses).any():
        np.testing.assert_allclose(found.constant[k], np.nanmean(losses), rtol=1e-6)


def test_the_step_limit():
    noise = 5 + np.random.default_rng(0).standard_normal((CURVES, CHECKPOINTS)).astype(np.float32)
    found = fitter(options=FitOptions(starts=1, max_steps=1, tolerance=1e-30))(noise)
    stopped = found.status == Status.MAX_STEPS
    assert stopped.sum() > CURVES // 4
    assert np.all(np.isfinite(found.rss[stopped]))
    assert np.all(np.isfinite(found.predict(AXIS)))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (-1.0, Status.NON_FINITE),
        (np.inf, Status.NON_FINITE),
        (0.0, Status.CONVERGED),
        (np.nan, Status.CONVERGED),
    ],
)
def test_one_weight(weights, expected):
    all_weights = np.ones((CURVES, CHECKPOINTS), np.float32)
    all_weights[2, 7] = weights
    found = fitter()(noisy(), all_weights)
    assert found.status[2] == expected
    assert np.all(np.delete(np.asarray(found.status), 2) == Status.CONVERGED)


def test_the_numbers_in_files_are_frozen():
    assert {status.name: status.value for status in Status} == {
        "CONVERGED": 0,
        "MAX_STEPS": 1,
        "AT_BOUND": 2,
        "TOO_FEW_POINTS": 3,
        "NON_FINITE": 4,
        "FLAT": 5,
        "UNREADABLE": 6,
        "PENDING": 255,
    }
    assert {category.name: category.value for category in Category} == {
        "UNLEARNED": 0,
        "LEARNED": 1,
        "EARLY": 2,
        "LATE": 3,
        "NONE": 255,
    }


def test_every_number_says_what_it_means():
    for status in Status:
        assert status.cause_and_cure.endswith(".")
    assert len({status.cause_and_cure for status in Status}) == len(Status)
    assert all(category.meaning.endswith(".") for category in Category)


def test_who_has_parameters_in_numpy_and_jax():
    every = np.array([int(status) for status in Status], np.uint8)
    np.testing.assert_array_equal(has_parameters(every), [True, True, True, False, False, False, False, False])
