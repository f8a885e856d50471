"""How much errors of learning times broaden p: against planted times whose errors are known, and through the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tsl_jax as tsl
from tsl_jax.fitting import Category, Status
from tsl_jax.spectrum import Spectrum, SpectrumGrid, TimeErrors, accumulate_rows, block_rows, broadening, resample_of

TOKENS, CENTRE = 40_000, 5.0
GRIDS = {
    "log": SpectrumGrid(1.0, float(np.exp(10.0)), "log", time_bins=128, sharpness_bins=8, resamples=16),
    "linear": SpectrumGrid(0.0, 10.0, "linear", time_bins=128, sharpness_bins=8, resamples=16),
}


def planted(scale, width, error, seed=0, drops=None):
    """Learning times normal in u with a known width, each fitted with its own known error; and their spectrum."""
    rng = np.random.default_rng(seed)
    errors = error * rng.choice([0.5, 1.0, 1.5], TOKENS)
    u = CENTRE + width * rng.standard_normal(TOKENS) + errors * rng.standard_normal(TOKENS)
    time = np.exp(u) if scale == "log" else u
    params = {
        "learning_time": time,
        "sharpness": np.full(TOKENS, 2.0),
        "loss_drop": np.ones(TOKENS) if drops is None else drops(errors),
        "final_loss": np.ones(TOKENS),
    }
    status, category = (np.full(TOKENS, code, "uint8") for code in (Status.CONVERGED, Category.LEARNED))
    number, grid = np.arange(TOKENS), GRIDS[scale]
    rows = block_rows(params, np.ones(TOKENS), status, category, number)
    spectrum = accumulate_rows(Spectrum.empty(grid), rows)
    stderr = {"learning_time": errors * (time if scale == "log" else 1)}
    resample = np.asarray(resample_of(jnp.asarray(number, jnp.uint32), grid.resamples))
    added = params, stderr, status, category, resample
    return spectrum, TimeErrors.empty(grid).added(grid, *added), added


@pytest.mark.parametrize("scale", GRIDS)
@pytest.mark.parametrize(("width", "error"), [(0.5, 0.05), (0.5, 0.3), (0.4, 0.6)])
def test_the_true_width_is_recovered(scale, width, error):
    spectrum, errors, _ = planted(scale, width, error)
    found = broadening(spectrum, errors, bins=32)
    square = error**2 * np.mean(np.square([0.5, 1.0, 1.5]))
    print(found)
    assert float(found.error) == pytest.approx(np.sqrt(square), rel=0.01)
    assert float(found.width) == pytest.approx(np.sqrt(width**2 + square), rel=0.02)
    assert float(found.width / found.ratio) == pytest.approx(width, rel=0.03)
    assert float(found.median) == pytest.approx(error, rel=0.25)  # read from half-octaves
    assert found.bin == pytest.approx(10 / 32)


@pytest.mark.parametrize(("error", "wider"), [(0.05, 0.0), (0.25, 1 / 3), (0.45, 2 / 3), (1.0, 1.0)])
def test_the_share_of_errors_wider_than_a_bin(error, wider):
    spectrum, errors, _ = planted("log", 0.5, error)
    assert float(broadening(spectrum, errors, bins=32).wider) == pytest.approx(wider, abs=0.05)


def test_errors_that_explain_the_whole_width_are_told():
    spectrum, errors, _ = planted("log", 0.0, 0.3)
    more = TimeErrors(errors.weight, 1.2 * np.asarray(errors.square), errors.sizes)
    assert np.isinf(broadening(spectrum, more, bins=32).ratio)


def test_weights_are_those_of_p():
    """Large drops with small errors: p weighted by drop is broadened less."""
    spectrum, errors, (params, stderr, *_) = planted("log", 0.5, 0.3, drops=lambda error: 0.5 / error**2)
    found = {weighting: broadening(spectrum, errors, bins=32, weighting=weighting) for weighting in ("count", "drop")}
    error = stderr["learning_time"] / params["learning_time"]
    for weighting, weight in (("count", np.ones(TOKENS)), ("drop", params["loss_drop"])):
        assert float(found[weighting].error) == pytest.approx(np.sqrt(np.average(error**2, weights=weight)), rel=1e-4)
    assert float(found["drop"].ratio) < float(found["count"].ratio)


def test_sums_do_not_depend_on_blocks_and_unknown_errors_are_as_wide_as_the_window():
    grid = GRIDS["log"]
    _, whole, (params, stderr, status, category, resample) = planted("log", 0.5, 0.3)
    parts = TimeErrors.empty(grid)
    for rows in (slice(0, 7), slice(7, TOKENS)):
        some = [{name: column[rows] for name, column in one.items()} for one in (params, stderr)]
        parts = parts.added(grid, *some, status[rows], category[rows], resample[rows])
    for one, other in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    category = np.where(np.arange(TOKENS) < 100, category, Category.LATE)
    unknown = {"learning_time": np.full(TOKENS, np.nan)}
    found = TimeErrors.empty(grid).added(grid, params, unknown, status, category, resample)
    assert found.weight[:, 0].sum() == 100
    np.testing.assert_allclose(found.square[:, 0].sum(), 100 * grid.unit**2 / 12, rtol=1e-9)


def test_without_events_nothing_is_known():
    grid = GRIDS["log"]
    found = broadening(Spectrum.empty(grid), TimeErrors.empty(grid), bins=8)
    assert all(np.isnan(value) for value in jax.tree.leaves(found))


def test_through_the_engine_p_is_as_much_wider_than_the_truth_as_is_said():
    rng = np.random.default_rng(2)
    step, number = np.geomspace(1, 1e4, 64), 3000
    u = np.log(100) + 0.5 * rng.standard_normal(number)
    curves = 2 + 3 / (1 + np.exp(1.2 * (np.log(step) - u[:, None])))
    fit = tsl.fit(tsl.Sigmoid(), step, (curves + rng.normal(0, 0.7, curves.shape)).astype("f4"))
    spectrum = Spectrum.from_fits(fit, step)
    found = broadening(spectrum, TimeErrors.from_fits(fit, spectrum.grid), bins=32)
    learned = np.asarray(fit.category) == Category.LEARNED
    true = np.std(np.log(np.asarray(fit.params["learning_time"])[learned])) / np.std(u[learned])
    print(found, true)
    assert true > 1.1
    assert float(found.ratio) == pytest.approx(true, rel=0.1)
