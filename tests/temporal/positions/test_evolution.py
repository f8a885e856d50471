"""Evolution: each form found again, against scipy and slow references; starts, gaps, covariates, bad input."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import curve_fit

import tsl_jax as tsl
from tsl_jax.temporal import FORMS, Form, evolution
from tsl_jax.temporal.positions.forms import CONSTANT, LOGARITHM

STEP = np.linspace(100.0, 4000.0, 40)
X = STEP / STEP[-1]
ERROR = 0.01
SEEDS = 32
PLANTED = {
    "constant": (lambda x, end: end + 0 * x, (2.0,)),
    "logarithm": (lambda x, last, slope: last + slope * np.log(x), (2.0, -0.3)),
    "reciprocal": (lambda x, drop, end: end + drop / x, (0.05, 2.0)),
    "power_law": (lambda x, drop, end, exponent: end + drop * x**-exponent, (0.6, 1.5, 0.45)),
    "exponential": (lambda x, drop, end, rate: end + drop * np.exp(-rate * x), (1.5, 2.0, 4.0)),
}


def data(seed=0):
    """(forms, seeds, checkpoints): every form with noise."""
    random = np.random.default_rng(seed)
    exact = np.stack([curve(X, *planted) for curve, planted in PLANTED.values()])[:, None]
    return (exact + ERROR * random.normal(size=(len(exact), SEEDS, len(STEP)))).astype(np.float32)


@functools.cache
def found():
    return fitted(data())


def fitted(values, errors=None, **options):
    """One shape of everything for most tests."""
    errors = np.full_like(values, ERROR) if errors is None else errors
    return evolution(STEP, values, errors, start=0.0, origins=4, **options)


def test_forms_are_tested_here():
    assert [form.name for form in FORMS] == list(PLANTED)


def test_early_training_that_follows_another_form_is_left_out():
    curve, planted = PLANTED["power_law"]
    y = data()[list(PLANTED).index("power_law"), :4].copy()
    y[:, :4] = 6.0 + 0.5 * np.cos(np.arange(4))
    automatic = evolution(STEP, y, np.full_like(y, ERROR))
    assert np.all(np.asarray(automatic.start) > STEP[3])
    assert np.all(automatic.chosen_name == "power_law")
    z = (automatic.predict(STEP) - curve(X, *planted))[:, 10:] / ERROR
    assert np.mean(np.abs(z)) < 1


def test_a_form_of_one_s_own_may_use_covariates():
    random = np.random.default_rng(5)
    rate = np.cos(STEP / 300).astype(np.float32)
    y = (3.0 - 0.4 * np.log(X) + 0.7 * rate + ERROR * random.normal(size=len(STEP))).astype(np.float32)

    def curve(params, x, covariates):
        return params["last"] + params["slope"] * jnp.log(x) + params["by_rate"] * covariates["rate"]

    def start(x, values, weights, covariates):
        return {"last": jnp.mean(values), "slope": 0.0, "by_rate": 0.0}

    own = Form("with_rate", curve, start, (("by_rate", 0.0, 2.0),))
    course = evolution(STEP, y, forms=(LOGARITHM, own), covariates={"rate": rate}, start=0.0, origins=4)
    assert course.chosen_name == "with_rate"
    assert abs(float(course.fits["with_rate"].params["by_rate"]) - 0.7) < 0.02
    later = course.predict(np.array([5000.0]), covariates={"rate": jnp.array([0.1])})
    assert abs(float(later[0]) - (3.0 - 0.4 * np.log(5000 / 4000) + 0.07)) < 0.03


#: Six checkpoints and two courses, each a fit of two forms: the smallest program.
FEW = np.arange(6.0)
FALLING = np.array([[1.0], [2.0]]) * (2.0 - 0.3 * np.log(np.maximum(FEW, 1)))
TWO_FORMS = (CONSTANT, LOGARITHM)


def test_six_checkpoints_the_first_at_zero_are_enough_for_a_choice():
    few = evolution(FEW, FALLING, forms=TWO_FORMS)
    assert np.all(few.chosen_name == "logarithm")
    assert np.all(few.fits["logarithm"].num_points == 5)
    assert few.origins.tolist() == [4.0]


def test_traced_values_have_the_fits_of_known_ones():
    noisy = FALLING + ERROR * np.random.default_rng(2).normal(size=FALLING.shape)
    found = evolution(FEW, noisy, forms=TWO_FORMS, start=0.0)
    traced = jax.jit(lambda values: evolution(FEW, values, forms=TWO_FORMS, start=0.0))(noisy)
    assert jax.tree.structure(traced) == jax.tree.structure(found)
    steps = {form.name: found.fits[form.name].num_steps for form in TWO_FORMS}
    for name, number in steps.items():  # another search for the same minimum
        traced.fits[name] = dataclasses.replace(traced.fits[name], num_steps=number)
    for got, want in zip(jax.tree.leaves(traced), jax.tree.leaves(found), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_of_no_rows_there_are_no_fits():
    none = evolution(FEW, np.zeros((2, 0, len(FEW)), np.float32), forms=TWO_FORMS, start=0.0)
    assert none.chosen.shape == none.fits["constant"].rss.shape == (2, 0)
    assert none.fits["logarithm"].covariance.shape == (2, 0, 2, 2)


def test_what_float32_cannot_hold_is_infinite_there_and_warns_of_nothing():
    noisy = FALLING + ERROR * np.random.default_rng(2).normal(size=FALLING.shape)
    found = evolution(FEW, (1e25 * noisy).astype(np.float32), forms=TWO_FORMS, start=0.0)
    np.testing.assert_array_equal(found.fits["constant"].rss, np.inf)
    np.testing.assert_allclose(found.fits["constant"].params["end"], 1e25 * noisy[:, 1:].mean(axis=1), rtol=1e-5)


def test_a_dictionary_gives_a_dictionary_and_a_name_chooses_by_hand():
    values = {"falling": FALLING, "constant": np.ones_like(FALLING)}
    errors = {name: np.full_like(value, ERROR) for name, value in values.items()}
    each = evolution(FEW, values, errors, forms=TWO_FORMS, select="logarithm")
    assert list(each) == list(values)
    assert np.all(each["constant"].chosen_name == "logarithm")
    by_hand = each["falling"].predict(FEW[1:])
    np.testing.assert_array_equal(by_hand, each["falling"].predict(FEW[1:], form="logarithm"))
    np.testing.assert_allclose(by_hand, FALLING[:, 1:], atol=1e-5)
    assert by_hand.shape == (2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": [100.0]}, "axis: got 1 checkpoints, expected at least 6; measure more"),
        ({"axis": STEP[::-1]}, "sort the checkpoints"),
        ({"axis": np.where(STEP[3] == STEP, STEP[2], STEP)}, "drop repeated"),
        ({"axis": STEP - 200}, "values of 0 or above"),
        ({"axis": np.where(STEP[3] == STEP, np.nan, STEP)}, "index 3 is not finite"),
        ({"values": np.ones((40, 2))}, "values: got shape"),
        ({"stderr": np.ones(7)}, "stderr: got shape|broadcast"),
        ({"select": "best"}, "select: got 'best', expected one of rolling_origin, aicc, bic, constant"),
        ({"forms": (FORMS[0], FORMS[0])}, "different names"),
        ({"forms": ()}, "at least one"),
        ({"origins": 0}, "origins: got 0"),
    ],
)
def test_bad_input_names_the_cure(change, message):
    with pytest.raises(ValueError, match=message):
        evolution(**({"axis": STEP, "values": np.ones(40)} | change))


@pytest.mark.usefixtures("optimised")  # to the end of this file: they compute more than they compile
@pytest.mark.parametrize("criterion", ["rolling_error", "aicc", "bic"])
def test_every_form_is_recognised(criterion):
    chosen = np.argmin(getattr(found(), criterion), axis=-1)
    right = np.mean(chosen == np.arange(len(PLANTED))[:, None], axis=1)
    # Forms with more parameters contain some of the simpler ones: information criteria resist them, prediction too.
    assert np.all(right > {"rolling_error": 0.55, "aicc": 0.75, "bic": 0.9}[criterion]), right


@pytest.mark.parametrize("name", PLANTED)
def test_parameters_have_honest_errors(name):
    number = list(PLANTED).index(name)
    fit = found().fits[name]
    for parameter, planted in zip(sorted(fit.params), PLANTED[name][1], strict=True):
        z = (np.asarray(fit.params[parameter][number]) - planted) / np.asarray(fit.stderr[parameter][number])
        assert abs(z.mean()) < 0.6, parameter
        assert 0.65 < z.std() < 1.4, parameter
    order = sorted(fit.params)
    diagonal = np.einsum("...ii->...i", np.asarray(fit.covariance[number]))
    np.testing.assert_allclose(np.sqrt(diagonal), np.stack([fit.stderr[k][number] for k in order], -1), rtol=1e-5)


@pytest.mark.parametrize("name", PLANTED)
def test_scipy_finds_the_same_fit_and_criteria(name):
    number, (curve, planted) = list(PLANTED).index(name), PLANTED[name]
    y, fit = data()[number, 0].astype(np.float64), found().fits[name]
    best, covariance = curve_fit(curve, X, y, planted, xtol=1e-12)
    ours = np.array([fit.params[k][number, 0] for k in sorted(fit.params)])
    errors = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(ours - best) < 0.02 * errors)
    np.testing.assert_allclose([fit.stderr[k][number, 0] for k in sorted(fit.params)], errors, rtol=0.02)
    n, k = len(STEP), len(planted) + 1
    misfit = n * np.log(np.sum((y - curve(X, *best)) ** 2) / n)
    np.testing.assert_allclose(
        found().aicc[number, 0, number], misfit + 2 * k + 2 * k * (k + 1) / (n - k - 1), atol=0.05
    )
    np.testing.assert_allclose(found().bic[number, 0, number], misfit + k * np.log(n), atol=0.05)


def test_rolling_origin_error_is_that_of_fits_that_end_at_the_origin():
    number, (curve, planted) = 3, PLANTED["power_law"]
    y = data()[number, 0].astype(np.float64)
    errors = []
    for origin in np.asarray(found().origins):
        known = origin >= STEP
        assert 0 < known.sum() < len(STEP)
        best, _ = curve_fit(curve, X[known], y[known], planted, xtol=1e-12, maxfev=10000)
        errors.append(np.sqrt(np.mean((y - curve(X, *best))[~known] ** 2)))
    np.testing.assert_allclose(found().origin_error[number, 0, number], errors, rtol=0.02)
    np.testing.assert_allclose(found().rolling_error[number, 0, number], np.sqrt(np.mean(np.square(errors))), rtol=0.02)


def test_values_without_error_or_at_zero_are_left_out_whatever_they_are():
    y, errors = data(), np.full_like(data(), ERROR)
    y[:, :, 7], errors[:, :, 9] = np.nan, np.nan
    y[:, :, 9] = 1e6
    gaps = fitted(y, errors)
    assert np.all(gaps.fits["power_law"].num_points == len(STEP) - 2)
    number = list(PLANTED).index("power_law")
    np.testing.assert_allclose(
        gaps.predict(STEP)[number, :, 20:], found().predict(STEP)[number, :, 20:], atol=5 * ERROR
    )
    nothing = fitted(np.full_like(data(), np.nan), errors)
    assert np.all(nothing.fits["constant"].status == tsl.Status.TOO_FEW_POINTS)
    assert np.all(np.isinf(nothing.aicc))


def test_an_unknown_form_cannot_be_asked_for():
    with pytest.raises(ValueError, match="form: got 'cubic', expected one of constant"):
        found().predict(STEP, form="cubic")


def test_a_start_by_hand_is_kept():
    assert np.all(np.asarray(found().start) == 0)


def test_forms_are_values():
    assert hash(FORMS[0]) == hash(dataclasses.replace(FORMS[0]))
    assert jax.tree.structure(found()) == jax.tree.structure(jax.tree.map(lambda a: a + 0, found()))
