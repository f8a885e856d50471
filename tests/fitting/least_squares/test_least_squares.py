"""`tsl.least_squares`: NIST's certified values, scipy, finite differences, and one problem at a time."""

import doctest
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from nist_strd import PROBLEMS

from tsl_jax.fitting import Status
from tsl_jax.fitting.least_squares.interface import least_squares
from tsl_jax.fitting.least_squares.options import LeastSquaresOptions

#: Certified digits reached by both starts (parameters, standard deviations, rss) of 11. The residuals of
#: Lanczos1 are 1e-13 of its data: in float64 only their first three digits exist.
DIGITS = {"Lanczos1": (10, 2.5, 2.5)}
DEFAULT_DIGITS = (8.5, 8, 9)
MODES = (jax.jacfwd, jax.jacrev)
X = np.linspace(0.0, 5.0, 40)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def single_precision(double_precision):
    with jax.enable_x64(False):
        yield


def decay(p, y):
    return p[0] * jnp.exp(-p[1] * X) + p[2] - y


@jax.jit
@jax.vmap
def fit_decays(y):
    return least_squares(decay, jnp.ones(3), y)


def two_decays(p, y):
    return p[0] * jnp.exp(-p[1] * X) + p[2] * jnp.exp(-p[3] * X) - y


def sigmoid(p, y, x=X):
    return p[0] + p[1] * jax.nn.sigmoid(p[2] * (x - p[3])) - y


def decays(count, noise=0.05, seed=0):
    """Data of `decay` with planted parameters."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform([1.0, 0.5, -1.0], [3.0, 2.0, 1.0], (count, 3))
    clean = truth[:, :1] * np.exp(-truth[:, 1:2] * X) + truth[:, 2:]
    return clean + noise * rng.normal(size=clean.shape)


def digits(got, certified):
    """Log relative error, the number of right digits, of the worst entry."""
    return -np.log10(np.maximum(np.max(np.abs(np.asarray(got) / certified - 1)), 1e-16))


# NIST's reference problems


@pytest.mark.parametrize("name", PROBLEMS)
def test_nist_data_have_the_certified_rss_at_the_certified_parameters(name):
    problem = PROBLEMS[name]
    rss = np.sum((np.asarray(problem.model(problem.certified, problem.x)) - problem.y) ** 2)
    # 11 digits of the parameters give Lanczos1 residuals of 1e-11, a hundred times its certified ones.
    assert rss < 1e-20 if name == "Lanczos1" else abs(rss / problem.rss - 1) < 1e-10


@functools.cache
def fits_from_starts(size):
    """Fits a problem of as many parameters from both its starts: one compilation for all problems of that size.

    Which model it is, is a number like any other data; rows that a problem does not have weigh nothing.
    """
    names = [name for name, problem in PROBLEMS.items() if len(problem.certified) == size]
    models = list(dict.fromkeys(PROBLEMS[name].model for name in names))
    rows = {len(PROBLEMS[name].y) for name in names}

    def predict(model, p, x):
        return model(p, x if model is PROBLEMS["Nelson"].model else x[0])

    def residual(p, number, x, y):
        return jax.lax.switch(number, [functools.partial(predict, model) for model in models], p, x) - y

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None, None, None))
    def fits(start, number, x, y, weights):
        return least_squares(residual, start, number, x, y, weights=weights)

    def fits_of(problem):
        more = max(rows) - len(problem.y)
        x = np.pad(np.broadcast_to(problem.x, (2, len(problem.y))), ((0, 0), (0, more)), mode="edge")
        weights = np.arange(max(rows)) < len(problem.y) if len(rows) > 1 else None
        number = models.index(problem.model)
        return fits(problem.starts, number, x, np.pad(problem.y, (0, more)), None if weights is None else 1.0 * weights)

    return fits_of


@pytest.mark.parametrize("name", PROBLEMS)
def test_nist_certified_values_from_both_starts(name):
    problem = PROBLEMS[name]
    fit = fits_from_starts(len(problem.certified))(problem)
    for_params, for_stderr, for_rss = DIGITS.get(name, DEFAULT_DIGITS)
    assert list(fit.status) == [Status.CONVERGED, Status.CONVERGED]
    for start in range(2):
        assert digits(fit.params[start], problem.certified) >= for_params
        assert digits(fit.stderr[start], problem.stderr) >= for_stderr
        assert digits(fit.rss[start], problem.rss) >= for_rss


# Batches


def test_vmapped_is_one_by_one():
    losses = decays(6)
    together = fit_decays(losses)
    for row, y in enumerate(losses):
        alone = least_squares(decay, jnp.ones(3), y)
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(one, many[row], rtol=1e-9)


def test_a_bad_problem_changes_no_bit_of_its_neighbours():
    losses = decays(6)
    spoilt = losses.copy()
    spoilt[2], spoilt[4] = np.nan, 1e300
    good = np.array([0, 1, 3, 5])
    for clean, other in zip(jax.tree.leaves(fit_decays(losses)), jax.tree.leaves(fit_decays(spoilt)), strict=True):
        np.testing.assert_array_equal(clean[good], other[good])
    bad = fit_decays(spoilt)
    assert list(bad.status[jnp.array([2, 4])]) == [Status.NON_FINITE] * 2
    assert np.isnan(bad.params[jnp.array([2, 4])]).all()
    assert np.isnan(bad.rss[jnp.array([2, 4])]).all()


# Bounds


@pytest.mark.parametrize(
    ("residual", "low", "high"),
    [(two_decays, [0, 0, 0, 0], [5, 3, 5, 3]), (sigmoid, [-3, -5, 0.2, 0], [3, 5, 10, 5])],
)
def test_bounded_fits_reach_what_scipy_reaches(residual, low, high):
    rng, count = np.random.default_rng(1), 40
    draw = lambda: rng.uniform(low, high, (count, 4))  # noqa: E731
    losses = np.stack([residual(p, 0.0) for p in draw()]) + 0.1 * rng.normal(size=(count, len(X)))
    lower, upper = np.sort([draw(), draw()], axis=0)
    starts = rng.uniform(lower, upper)
    fit = jax.vmap(lambda p, low, high, y: least_squares(residual, p, y, bounds=(low, high)))(
        starts, lower, upper, losses
    )
    values, jacobian = jax.jit(residual), jax.jit(jax.jacfwd(residual))
    peers = [
        scipy.optimize.least_squares(
            lambda p: np.asarray(values(p, losses[i])),  # noqa: B023 (used at once)
            starts[i],
            jac=lambda p: np.asarray(jacobian(p, losses[i])),  # noqa: B023
            bounds=(lower[i], upper[i]),
            x_scale="jac",
            **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-14),
        )
        for i in range(count)
    ]
    assert np.all((fit.params >= lower) & (fit.params <= upper))
    assert np.isin(fit.status, [Status.CONVERGED, Status.AT_BOUND]).all()
    # Boxes can hold several minima; both methods may end in either.
    ratio = np.asarray(fit.rss) / np.array([2 * peer.cost for peer in peers])
    assert np.mean(ratio < 1 + 1e-6) >= 0.95
    same = np.abs(ratio - 1) < 1e-6
    projected = np.clip(
        fit.params - jax.vmap(lambda p, y: jacobian(p, y).T @ values(p, y))(fit.params, losses), lower, upper
    )
    np.testing.assert_allclose(projected, fit.params, atol=1e-6)
    at_bound = np.any((fit.params == lower) | (fit.params == upper), axis=1)
    np.testing.assert_array_equal(np.asarray(fit.status)[same] == Status.AT_BOUND, at_bound[same])


def test_a_start_on_a_bound_may_stay_or_leave():
    y = 2 * np.exp(-X) + 0.5
    start, lower, upper = jnp.array([[1.0, 0.2, 0.0], [0.0, 0.2, 0.0], [1.0, 5.0, 3.0]])
    fit = least_squares(decay, start, y, bounds=(lower, upper))
    assert fit.status == Status.AT_BOUND
    np.testing.assert_allclose(fit.params[0], 1.0)
    assert fit.params[1] > 0.3
    assert np.isnan(fit.stderr[0])
    # The others' errors are those of the fit with the first parameter given, but for the degrees of freedom.
    given = least_squares(lambda p: decay([1.0, p[0], p[1]], y), jnp.array([0.2, 0.0]))
    np.testing.assert_allclose(fit.stderr[1:], np.asarray(given.stderr) * np.sqrt(38 / 37), rtol=1e-9)


def test_where_numbers_are_traced_a_start_outside_moves_onto_its_bounds():
    y = decays(1)[0]
    inside = least_squares(decay, jnp.array([1.0, 1.0, 0.0]), y, bounds=(-4.0, 4.0))
    outside = jax.jit(lambda p: least_squares(decay, p, y, bounds=(-4.0, 4.0)))(jnp.array([1.0, 9.0, 0.0]))
    np.testing.assert_allclose(outside.params, inside.params, rtol=1e-8)


# Derivatives


def shifted(p, y, shift, kind):
    return decay(p, y + shift) + 0.0 * kind


@functools.partial(jax.jit, static_argnums=4)
def summary(y, shift, weights, lowest, bounded):
    """Parameters, rss and errors as one vector."""
    bounds = (jnp.stack([0.0, 0.0, lowest]), None) if bounded else None
    fit = least_squares(shifted, jnp.ones(3), y, shift, 7, bounds=bounds, weights=weights)
    return jnp.concatenate([fit.params, fit.stderr[:2], fit.rss[None]])


@pytest.mark.parametrize("bounded", [False, True])
def test_derivatives_are_those_of_finite_differences(bounded):
    y = decays(1)[0]
    # A lower bound above the best value is active: the floor then moves with the bound and with nothing else.
    floor = float(least_squares(decay, jnp.ones(3), y).params[2])
    at = (y, 0.1, np.linspace(1.0, 2.0, len(X)), floor + 0.2)
    both = [jax.jit(mode(lambda *at: summary(*at, bounded), argnums=(0, 1, 2, 3)))(*at) for mode in MODES]
    for forward, backward in zip(*both, strict=True):
        np.testing.assert_allclose(forward, backward, rtol=1e-7, atol=1e-9)
    for argument, derivative in enumerate(both[0]):
        direction = np.random.default_rng(argument).normal(size=np.shape(at[argument]))
        ends = []
        for h in (1e-5, -1e-5):
            moved = list(at)
            moved[argument] = at[argument] + h * direction
            ends.append(summary(*moved, bounded))
        along = derivative @ direction if np.ndim(direction) else derivative * direction
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-7)
    if bounded:
        assert all(np.all(derivative[2] == 0) for derivative in both[0][:3])
        assert both[0][3][2] == 1


def test_derivatives_reach_what_the_residual_closes_over():
    y = decays(1)[0]

    def rate(a, b):
        return least_squares(lambda p: decay(p, y + a * X), jnp.ones(3) * b).params[1]

    through_closure = jax.jit(jax.grad(rate, argnums=(0, 1)))(0.1, 1.0)
    h = 1e-5
    rates = [least_squares(decay, jnp.ones(3), y + a * X).params[1] for a in (0.1 + h, 0.1 - h)]
    np.testing.assert_allclose(through_closure[0], (rates[0] - rates[1]) / (2 * h), rtol=1e-6)
    assert through_closure[1] == 0


def test_second_derivatives():
    y = decays(1)[0]

    def rate(a):
        return least_squares(decay, jnp.ones(3), y + a**2 * X).params[1]

    h = 1e-3
    difference = (rate(0.2 + h) - 2 * rate(0.2) + rate(0.2 - h)) / h**2
    np.testing.assert_allclose(jax.jit(jax.hessian(rate))(0.2), difference, rtol=1e-4)


def test_a_problem_without_a_fit_has_zero_gradient():
    losses = decays(3)
    losses[1] = np.nan

    def total(losses):
        fit = jax.vmap(lambda y: least_squares(decay, jnp.ones(3), y))(losses)
        fitted = fit.status == Status.CONVERGED
        return jnp.sum(jnp.where(fitted, fit.params.sum(1) + fit.rss + fit.stderr.sum(1), 0.0))

    gradient = jax.jit(jax.grad(total))
    spoilt = gradient(losses)
    assert np.all(spoilt[1] == 0)
    assert np.all(np.isfinite(spoilt))
    np.testing.assert_array_equal(spoilt[0], gradient(losses[[0, 0, 0]])[0])


# Errors, weights, precision


def test_weights_and_errors_are_those_of_curve_fit():
    y, weights = decays(1)[0], np.linspace(0.5, 2.0, len(X))
    weights[[3, 8]], y[[3, 5]] = 0, np.nan
    weights[5] = np.nan
    used = weights > 0
    fit = least_squares(decay, jnp.ones(3), y, weights=weights)
    model = lambda x, *p: p[0] * np.exp(-p[1] * x) + p[2]  # noqa: E731
    best, covariance = scipy.optimize.curve_fit(
        model, X[used], y[used], np.ones(3), sigma=weights[used] ** -0.5, xtol=1e-14, ftol=1e-14
    )
    assert fit.num_points == used.sum() == len(X) - 3
    np.testing.assert_allclose(fit.params, best, rtol=1e-7)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-4)
    np.testing.assert_allclose(fit.rss, np.sum(weights[used] * (model(X[used], *best) - y[used]) ** 2))
    assert least_squares(decay, jnp.ones(3), y, weights=weights - 1).status == Status.NON_FINITE


def test_parameters_that_the_data_do_not_determine_have_no_error():
    y = decays(1)[0]
    unused = least_squares(lambda p: decay(p[:3], y), jnp.ones(4))
    np.testing.assert_array_equal(np.isnan(unused.stderr), [False, False, False, True])
    np.testing.assert_allclose(unused.stderr[:3] ** 2 * 36, least_squares(decay, jnp.ones(3), y).stderr ** 2 * 37)
    twins = least_squares(lambda p: decay(jnp.stack([p[0], p[1], p[2] + p[3]]), y), jnp.ones(4))
    np.testing.assert_array_equal(np.isnan(twins.stderr), [False, False, True, True])
    np.testing.assert_allclose(twins.stderr[:2], unused.stderr[:2], rtol=1e-6)
    assert unused.status == twins.status == Status.CONVERGED


def test_steps_onto_values_without_a_residual_are_refused():
    # The first full step from 0.1 leads to negative p, where the logarithm is NaN.
    y = np.log(np.array([2.0, 2.1, 1.9]))
    fit = least_squares(lambda p: 40 * jnp.log(p) - 40 * y, jnp.array([9.0]))
    assert fit.status == Status.CONVERGED
    np.testing.assert_allclose(fit.params, np.exp(y.mean()), rtol=1e-9)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def fit_sigmoids(y, x):
    return least_squares(sigmoid, jnp.array([0.0, 1.0, 2.0, 2.5]), y, x)


def test_float32_lands_where_float64_does(single_precision):
    losses = np.stack([1 + 3 / (1 + np.exp(-s * (X - 2))) for s in (0.8, 3.0, 20.0)])
    losses = losses + 0.05 * np.random.default_rng(3).normal(size=losses.shape)
    single = fit_sigmoids(losses.astype(np.float32), X.astype(np.float32))
    with jax.enable_x64(True):
        double = jax.tree.map(np.asarray, fit_sigmoids(losses, X))
    assert single.params.dtype == jnp.float32
    assert double.params.dtype == jnp.float64
    np.testing.assert_array_equal(single.status, [Status.CONVERGED] * 3)
    assert np.max(np.abs(np.asarray(single.params) - double.params) / double.stderr) < 1e-2
    np.testing.assert_allclose(single.stderr, double.stderr, rtol=1e-2)
    np.testing.assert_allclose(single.rss, double.rss, rtol=1e-4)


def test_exact_data_in_float32_end_converged(single_precision):
    losses = np.stack([1 + 3 / (1 + np.exp(-s * (X - 2))) for s in (0.8, 3.0, 20.0)])
    fit = fit_sigmoids(losses.astype(np.float32), X.astype(np.float32))
    assert list(fit.status) == [Status.CONVERGED] * 3
    np.testing.assert_allclose(fit.params[:, 3], 2.0, rtol=1e-4)


# What it takes and refuses


def test_parameters_are_any_pytree():
    y = decays(1)[0]

    def residual(p, y):
        return decay([p["height"], p["shape"]["rate"], p["shape"]["floor"]], y)

    start = {"height": 1, "shape": {"rate": np.float32(1.0), "floor": [1.0][0]}}
    bounds = ({"height": 0, "shape": {"rate": 0.0, "floor": None}}, 9.0)
    fit = least_squares(residual, start, y, bounds=bounds)
    flat = least_squares(decay, jnp.ones(3), y)
    # Keys are sorted: floor before rate.
    np.testing.assert_allclose([fit.params["height"], fit.params["shape"]["rate"]], flat.params[:2], rtol=1e-8)
    np.testing.assert_allclose(fit.stderr["shape"]["floor"], flat.stderr[2], rtol=1e-6)
    np.testing.assert_allclose(fit.covariance[0, 1], flat.covariance[0, 2], rtol=1e-6)


def test_too_few_points():
    y = decays(1)[0]

    def first(count):
        return least_squares(lambda p, y: decay(p, y)[:count], jnp.ones(3), y)

    def weighted(count):
        return least_squares(decay, jnp.ones(3), y, weights=(np.arange(len(X)) < count) * 1.0)

    for fit in (first(1), first(2), weighted(0), weighted(2)):
        assert fit.status == Status.TOO_FEW_POINTS
        assert fit.num_points <= 2
        assert np.isnan(fit.params).all()
        assert np.isnan(fit.stderr).all()
        assert np.isnan(fit.rss)
    assert weighted(4).status == Status.CONVERGED
    assert weighted(4).num_points == 4


def test_the_step_limit_keeps_the_best_point():
    y = decays(1)[0]
    fit = least_squares(decay, jnp.ones(3), y, options=LeastSquaresOptions(max_steps=2))
    assert fit.status == Status.MAX_STEPS
    assert fit.num_steps == 2
    assert least_squares(decay, jnp.ones(3), y).rss < fit.rss < np.sum(decay(np.ones(3), y) ** 2)


Y = np.zeros(len(X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: least_squares(decay, jnp.array([1.0, -1.0, 1.0]), Y, bounds=(0.0, None)),
            r"p0\[1\]: got -1.0",
        ),
        (
            lambda: least_squares(lambda p: p["rate"] - Y, {"rate": 9.0}, bounds=(0, {"rate": 5})),
            r"p0\['rate'\]: got 9.0, expected a start within its bounds \[0.0, 5.0\]",
        ),
        (lambda: least_squares(decay, jnp.ones(3), Y, bounds=(2.0, 1.0)), r"got \[2.0, 1.0\] for p0\[0\]"),
        (
            lambda: least_squares(decay, jnp.ones(3), Y, bounds=([0.0, 0.0], 1.0)),
            r"has shape \(2,\), expected \(3,\)",
        ),
        (
            lambda: least_squares(decay, jnp.ones(3), Y, bounds=({"a": 0.0}, 1.0)),
            "the lower one has the structure",
        ),
        (lambda: least_squares(decay, jnp.ones(3), Y, bounds=0.0), r"expected a pair \(lower, upper\)"),
        (lambda: least_squares(decay, [], Y), "p0: got no parameters"),
        (
            lambda: least_squares(lambda p: p[0], jnp.ones(3)),
            r"residual: .*expected one real array of shape \(m,\)",
        ),
        (lambda: least_squares(decay, jnp.ones(3), Y, weights=Y[:3]), r"weights: got shape \(3,\)"),
        (
            lambda: LeastSquaresOptions(max_steps=0),
            "LeastSquaresOptions.max_steps: got 0, expected a whole number of at least 1",
        ),
        (lambda: LeastSquaresOptions(tolerance=-1.0), "LeastSquaresOptions.tolerance"),
        (lambda: LeastSquaresOptions(initial_radius=0.0), "LeastSquaresOptions.initial_radius"),
        (lambda: LeastSquaresOptions(loss="cauchy"), "LeastSquaresOptions.loss: got 'cauchy', expected 'linear', "),
        (lambda: LeastSquaresOptions(f_scale=np.inf), "LeastSquaresOptions.f_scale: got inf, expected a positive"),
    ],
)
def test_bad_input_raises_at_once_and_says_what(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_parameters_are_refused():
    with pytest.raises(TypeError, match="p0: got dtype complex"):
        least_squares(decay, jnp.ones(3) * 1j, Y)


def test_a_residual_that_cannot_be_hashed_is_refused():
    class Unhashable:
        __hash__ = None

        def __call__(self, p):
            return p - Y

    with pytest.raises(TypeError, match="residual: got Unhashable"):
        least_squares(Unhashable(), jnp.ones(1))


@pytest.mark.parametrize("module", ["interface", "options", "result"])
def test_the_example_of_the_docstring_runs(module, single_precision):
    found = doctest.testmod(sys.modules[f"tsl_jax.fitting.least_squares.{module}"])
    assert (found.failed, found.attempted > 0) == (0, True)


def test_a_list_of_parameters_that_the_residual_cannot_take_is_said():
    with pytest.raises(TypeError, match=r"residual: failed on p = a list of 2 arrays.* give p0 as np\.asarray\(p0\)"):
        least_squares(lambda p: jnp.sum(p) * np.arange(5.0) - 1, [1.0, 2.0])
    found = least_squares(lambda p: p[0] * np.arange(5.0) - p[1], [1.0, 2.0])
    assert isinstance(found.params, list)
