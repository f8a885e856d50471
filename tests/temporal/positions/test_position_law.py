"""The position law: planted truth, scipy as oracle, gaps, and what it says about real losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import curve_fit

import tsl_jax as tsl
from tests.temporal.planted_positions import NOISE, POSITION, STEP, curves, noisy, truth
from tests.tolerances import FORMULA, RECOVERY
from tsl_jax.temporal import log_bins, position_law

NAMES = ("amplitude", "rate", "floor")
ERRORS = np.full_like(POSITION, NOISE)


def hyperbola(position, amplitude, rate, floor):
    return amplitude / (1 + rate * position) + floor


@functools.cache
def fitted():
    return position_law(POSITION, noisy(1), ERRORS)


def test_losses_without_noise_give_the_planted_parameters():
    law = position_law(POSITION, np.broadcast_to(curves().astype(np.float32), noisy(1).shape), ERRORS)
    for name, planted in truth().items():
        np.testing.assert_allclose(law.params[name][0], planted, rtol=RECOVERY.float32, err_msg=name)
    np.testing.assert_allclose(law.predict(POSITION)[0], curves(), rtol=RECOVERY.float32)
    assert np.all(law.r2 > 0.9999)
    assert np.all(law.r2_binned > 0.9999)


def test_errors_are_honest():
    law = fitted()
    for name, planted in truth().items():
        z = (np.asarray(law.params[name]) - planted) / np.asarray(law.stderr[name])
        assert abs(z.mean()) < 0.1, name
        assert 0.94 < z.std() < 1.06, name
    assert abs(float(law.chi2_reduced.mean()) - 1) < 0.02
    # What R² to expect of the right law is what it has.
    assert abs(float((law.r2 - law.r2_ceiling).mean())) < 0.002


def test_scipy_finds_the_same_curves_and_covariances():
    law, data = fitted(), noisy(1)
    for seed, checkpoint in ((0, 0), (5, 12), (9, 23)):
        start = [planted[checkpoint] for planted in truth().values()]
        best, covariance = curve_fit(
            hyperbola, POSITION, data[seed, checkpoint], start, sigma=ERRORS, absolute_sigma=True, xtol=1e-12
        )
        errors = np.sqrt(np.diag(covariance))
        found = np.array([law.params[name][seed, checkpoint] for name in NAMES])
        assert np.all(np.abs(found - best) < 0.02 * errors)
        ratio = np.asarray(law.covariance[seed, checkpoint]) / np.outer(errors, errors)
        np.testing.assert_allclose(ratio, covariance / np.outer(errors, errors), atol=0.03)
        np.testing.assert_allclose([law.stderr[name][seed, checkpoint] for name in NAMES], errors, rtol=0.02)


def test_it_is_the_engine_s_fit_with_inverse_variances_as_weights():
    data, errors = noisy(2), NOISE * np.linspace(0.5, 2.0, len(POSITION))
    law = position_law(POSITION, data, errors)
    weights = np.broadcast_to(1 / errors**2, data.shape).astype(np.float32)
    fit = tsl.fit(tsl.Hyperbola(), POSITION, data, weights, options=tsl.FitOptions(noise="independent"))
    for name in NAMES:
        np.testing.assert_allclose(law.params[name], fit.params[name], rtol=RECOVERY.float32)
    np.testing.assert_allclose(law.chi2_reduced, fit.rss / (len(POSITION) - 3), rtol=RECOVERY.float32)
    # The engine scales its errors by the scatter, which the given errors replace here.
    scale = np.sqrt(np.asarray(law.chi2_reduced))
    for name in NAMES:
        np.testing.assert_allclose(law.stderr[name] * scale, fit.stderr[name], rtol=0.01)


def test_pooled_positions_are_weighted_means_in_their_bins():
    law, data = fitted(), noisy(1)[3, 7].astype(np.float64)
    place = log_bins(POSITION, 12)
    curve = hyperbola(POSITION, *(float(law.params[name][3, 7]) for name in NAMES))
    measured, expected = (np.array([v[place == b].mean() for b in range(place[-1] + 1)]) for v in (data, curve))
    r2 = 1 - np.sum((measured - expected) ** 2) / np.sum((measured - measured.mean()) ** 2)
    np.testing.assert_allclose(law.r2_binned[3, 7], r2, rtol=1e-4)
    assert law.r2_binned[3, 7] > law.r2[3, 7]


def test_without_standard_errors_the_scatter_gives_them():
    law, weighted = position_law(POSITION, noisy(1)), fitted()
    np.testing.assert_allclose(law.params["floor"], weighted.params["floor"], rtol=RECOVERY.float32)
    scatter = np.sqrt(np.asarray(weighted.chi2_reduced))
    np.testing.assert_allclose(law.stderr["floor"], weighted.stderr["floor"] * scatter, rtol=0.01)
    assert np.all(np.isnan(law.r2_ceiling))
    assert np.all(np.isnan(law.chi2_reduced))


def test_missing_positions_are_left_out_and_an_empty_checkpoint_harms_no_other():
    data = noisy(1)
    gaps = data.copy()
    gaps[:, :, 20:] = np.nan
    short = position_law(POSITION, gaps, ERRORS)
    start = [planted[7] for planted in truth().values()]
    best, covariance = curve_fit(hyperbola, POSITION[:20], data[3, 7, :20], start, xtol=1e-12)
    found = np.array([short.params[name][3, 7] for name in NAMES])
    assert np.all(np.abs(found - best) < 0.02 * np.sqrt(np.diag(covariance)))
    assert short.num_points[3, 7] == 20
    empty = data.copy()
    empty[:, 4] = np.nan
    law = position_law(POSITION, empty, ERRORS)
    assert np.all(law.status[:, 4] == tsl.Status.TOO_FEW_POINTS)
    assert np.all(np.isnan(law.params["floor"][:, 4]))
    others = np.arange(len(STEP)) != 4
    np.testing.assert_array_equal(law.params["floor"][:, others], fitted().params["floor"][:, others])
    np.testing.assert_array_equal(law.covariance[:, others], fitted().covariance[:, others])


def test_a_rate_on_its_bound_has_no_error_and_the_others_are_given_it():
    flat = np.broadcast_to(5.0 - 1e-3 * POSITION, noisy(1).shape).astype(np.float32)  # as a rate of 0 would have it
    law = position_law(POSITION, flat, ERRORS)
    assert np.all(law.status == tsl.Status.AT_BOUND)
    assert np.all(np.isnan(law.stderr["rate"]))
    assert np.all(np.isfinite(law.stderr["amplitude"]))


def test_coordinates_carry_their_covariance():
    law = fitted()
    found, covariance = law.coordinates()
    here = jnp.array([law.params[name][0, 0] for name in NAMES[:2]])

    def coordinates(p):
        return jnp.array([p[0] / (1 + p[1]), p[1] / (1 + p[1])])

    slopes = jax.jacobian(coordinates)(here)
    np.testing.assert_allclose(found[0, 0], coordinates(here), rtol=FORMULA.float32)
    np.testing.assert_allclose(covariance[0, 0], slopes @ law.covariance[0, 0, :2, :2] @ slopes.T, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((POSITION - 1, curves()), ValueError, "position: got 0 at index 0.*add 1"),
        ((POSITION[::-1], curves()), ValueError, "position: got 32 then 31.*sort"),
        ((np.where(POSITION == 3, 2, POSITION), curves()), ValueError, "position: got 2 then 2.*merge"),
        ((np.where(POSITION == 3, np.nan, POSITION), curves()), ValueError, "position: index 2 is not finite"),
        ((POSITION, curves().T), ValueError, "mean: got shape.*transpose"),
        ((POSITION, curves(), np.ones(7)), ValueError, "stderr: got shape|broadcast"),
        ((POSITION, curves().astype(int)), TypeError, "mean: got dtype"),
        ((POSITION[:3], curves()[:, :3]), ValueError, "expected at least 4"),
    ],
)
def test_bad_input_names_the_cure(arguments, error, message):
    with pytest.raises(error, match=message):
        position_law(*arguments)


def test_real_losses_follow_it_as_closely_as_their_errors_allow(real_lm):
    from tsl_jax.jobs.positions import position_losses

    means = position_losses(real_lm)
    some = slice(1, None, 3)
    late = means.axis[some] >= 576
    law = position_law(means.position, means.mean[some], means.stderr[some])
    assert np.all(np.abs(law.chi2_reduced - 1) < 0.2)
    assert np.all(law.r2_binned[late] > 0.985)
    assert np.all(np.abs(law.r2 - law.r2_ceiling)[late] < 0.08)
    assert 0.65 < float(law.r2[-1]) < 0.69


@pytest.mark.parametrize(
    ("power", "given"),
    [(-100, None), (-100, 0.01), (-60, None), (-55, 0.01), (60, None), (60, 0.01), (100, None), (100, 0.01)],
)
def test_losses_of_any_magnitude_have_the_same_law_and_errors(power, given):
    position, size = np.arange(1.0, 41.0), np.float32(2.0**power)
    noise = 0.01 * np.random.default_rng(3).standard_normal((3, 40))
    mean = (1 + 3 / (1 + 0.5 * position) + noise).astype("float32")
    stderr = None if given is None else np.full_like(mean, given)
    plain = tsl.position_law(position, mean, stderr)
    found = tsl.position_law(position, mean * size, None if stderr is None else stderr * size)
    np.testing.assert_array_equal(found.status, plain.status)
    for name in plain.params:
        unit = 1 if name == "rate" else size
        np.testing.assert_allclose(found.params[name] / unit, plain.params[name], rtol=1e-4)
        np.testing.assert_allclose(found.stderr[name] / unit, plain.stderr[name], rtol=1e-3)
    np.testing.assert_allclose(found.r2, plain.r2, rtol=1e-5)


def test_errors_that_are_no_numbers_are_unknown():
    position = np.arange(1.0, 21.0)
    mean = (1e-18 * (1 + 3 / (1 + 0.5 * position))).astype("float32")
    for stderr in (1e-19, 1e-3, 1e10):
        law = tsl.position_law(position, mean, np.full(20, stderr))
        for errors in law.stderr.values():
            assert not np.isinf(errors)
        assert not np.any(np.isinf(law.covariance))
