"""Laws over model and data size: planted truth, SciPy's BFGS, closed forms of the optimum, bootstrap coverage."""

import jax
import numpy as np
import pytest
import scipy.optimize

import tsl_jax as tsl
from tsl_jax.fitting import Status
from tsl_jax.temporal import SIZE_LAWS, DataConstrainedLaw, KaplanLaw, fit_size_law

SIZE, TOKENS = (a.ravel() for a in np.meshgrid(np.geomspace(5e7, 1e10, 10), np.geomspace(1e9, 3e11, 10)))
TRUTH = {
    "chinchilla": {
        "floor": 1.8172,
        "size_coefficient": 482.0,
        "size_exponent": 0.3478,
        "data_coefficient": 2085.0,
        "data_exponent": 0.3658,
    },
    "kaplan": {"size_scale": 8.8e13, "size_exponent": 0.076, "data_scale": 5.4e13, "data_exponent": 0.095},
}


def planted(name, size, tokens):
    p = TRUTH[name]
    if name == "kaplan":
        of_size = (p["size_scale"] / size) ** (p["size_exponent"] / p["data_exponent"])
        return (of_size + p["data_scale"] / tokens) ** p["data_exponent"]
    of_size = p["size_coefficient"] * size ** -p["size_exponent"]
    return p["floor"] + of_size + p["data_coefficient"] * tokens ** -p["data_exponent"]


def noisy(name, seed=0, scale=0.004):
    """Heavy tails, so that most residuals are beyond Huber's corner."""
    noise = np.random.default_rng(seed).standard_t(3, size=SIZE.size)
    return planted(name, SIZE, TOKENS) * np.exp(scale * noise)


@pytest.fixture(scope="module")
def fit():
    return fit_size_law(tsl.ChinchillaLaw(), SIZE, TOKENS, noisy("chinchilla"), replicates=200)


@pytest.mark.parametrize("name", ["chinchilla", "kaplan"])
def test_planted_laws_are_found_from_the_grid_of_starts(name):
    found = fit_size_law(SIZE_LAWS[name], SIZE, TOKENS, planted(name, SIZE, TOKENS))
    assert found.status == Status.CONVERGED
    for parameter, value in TRUTH[name].items():
        assert found.params[parameter] == pytest.approx(value, rel=1e-6), parameter
        assert np.isnan(found.lower[parameter])
    np.testing.assert_allclose(found.predict(7e10, 1.4e12), planted(name, 7e10, 1.4e12), rtol=1e-8)
    assert np.isnan(found.optimum(1e22).size_interval).all()


def test_the_fit_is_the_minimum_that_bfgs_finds(fit):
    """Log residuals, Huber's loss and its gradient by hand; both ends agree to 6 digits."""
    x, y, loss = np.log(SIZE), np.log(TOKENS), np.log(noisy("chinchilla"))
    centre = x.mean(), y.mean()

    def objective(p):
        e, a, b = np.exp(p[0]), np.exp(p[1] - p[3] * (x - centre[0])), np.exp(p[2] - p[4] * (y - centre[1]))
        left = np.log(e + a + b) - loss
        value = np.where(abs(left) <= 1e-3, left**2 / 2, 1e-3 * (abs(left) - 5e-4)).sum()
        pull = np.clip(left, -1e-3, 1e-3) / (e + a + b)
        slopes = (e, a, b, -a * (x - centre[0]), -b * (y - centre[1]))
        return value, np.array([np.sum(pull * slope) for slope in slopes])

    start = np.array([np.log(1.5), 0.0, 0.0, 0.4, 0.4])
    for _ in range(20):
        found = scipy.optimize.minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-14})
        start = found.x
    exponents = found.x[3:]
    coefficients = np.exp(found.x[1:3] + exponents * centre)
    exact = dict(zip(tsl.ChinchillaLaw().names, (np.exp(found.x[0]), coefficients[0], exponents[0]), strict=False))
    exact |= {"data_coefficient": coefficients[1], "data_exponent": exponents[1]}
    assert fit.objective == pytest.approx(found.fun, rel=1e-9)
    assert fit.objective <= found.fun * (1 + 1e-12)
    for name, value in exact.items():
        assert fit.params[name] == pytest.approx(value, rel=2e-6), name


def test_replicates_are_fits_to_runs_drawn_anew(fit):
    """Each has the objective that a fit to its runs alone, from all starts, has."""
    drawn = np.asarray(jax.random.randint(jax.random.key(0), (200, SIZE.size), 0, SIZE.size))[7]
    alone = fit_size_law(tsl.ChinchillaLaw(), SIZE[drawn], TOKENS[drawn], noisy("chinchilla")[drawn])
    spread = {name: np.std(values) for name, values in fit.replicates.items()}
    for name, values in fit.replicates.items():
        assert values[7] == pytest.approx(alone.params[name], abs=0.02 * spread[name]), name


def test_intervals_hold_the_planted_truth(fit):
    for name, value in TRUTH["chinchilla"].items():
        assert fit.lower[name] < value < fit.upper[name]
        assert fit.lower[name] < fit.params[name] < fit.upper[name]
    inside = []
    for seed in range(6):
        other = fit_size_law(tsl.ChinchillaLaw(), SIZE, TOKENS, noisy("chinchilla", seed), replicates=80, level=0.8)
        inside += [other.lower[name] < value < other.upper[name] for name, value in TRUTH["chinchilla"].items()]
    assert 0.55 < np.mean(inside) < 0.97


@pytest.mark.parametrize("name", ["chinchilla", "kaplan"])
def test_the_optimum_is_the_lowest_loss_of_a_budget(name):
    found = fit_size_law(SIZE_LAWS[name], SIZE, TOKENS, planted(name, SIZE, TOKENS))
    budgets = np.array([1e19, 5.76e23])
    best = found.optimum(budgets)
    for k, flops in enumerate(budgets):
        search = scipy.optimize.minimize_scalar(
            lambda n, flops=flops: float(planted(name, np.exp(n), flops / 6 / np.exp(n))), bracket=(15, 25)
        )
        assert best.size[k] == pytest.approx(np.exp(search.x), rel=1e-3)
        assert best.loss[k] == pytest.approx(search.fun, rel=1e-6)
    np.testing.assert_allclose(6 * best.size * best.tokens, budgets)


def test_intervals_of_the_optimum_hold_it(fit):
    best = fit.optimum([1e21])
    for ends, value in ((best.size_interval, best.size), (best.tokens_interval, best.tokens)):
        assert ends[0] < value < ends[1]
    assert best.loss_interval[0] < best.loss < best.loss_interval[1]


def repeated(seed=None):
    """Runs of 1 to 30 epochs, by the paper's sums over epochs: each is worth exp(-1/R*) of the one before, nearly."""
    epochs = np.array([1.0, 2.0, 4.0, 10.0, 30.0])[np.arange(SIZE.size) % 5]
    worth = 1 + 15.4 * (1 - np.exp(-(epochs - 1) / 15.4))
    loss = planted("chinchilla", SIZE, TOKENS / epochs * worth)
    noise = 0 if seed is None else 0.003 * np.random.default_rng(seed).normal(size=SIZE.size)
    return loss * np.exp(noise), TOKENS / epochs


def test_what_repeated_tokens_are_worth_comes_back():
    law, (loss, unique) = DataConstrainedLaw(), repeated()
    found = fit_size_law(law, SIZE, TOKENS, loss, unique_tokens=unique)
    assert found.status == Status.CONVERGED
    for parameter, value in (TRUTH["chinchilla"] | {"repeat_scale": 15.4}).items():
        assert found.params[parameter] == pytest.approx(value, rel=1e-5), parameter
    np.testing.assert_allclose(found.predict(SIZE, TOKENS, unique), loss, rtol=1e-7)
    # Without repetition it is Chinchilla's law, and so is its optimum.
    np.testing.assert_allclose(found.predict(7e10, 1.4e12), planted("chinchilla", 7e10, 1.4e12), rtol=1e-6)
    np.testing.assert_allclose(found.predict(7e10, 1.4e12, 2e12), planted("chinchilla", 7e10, 1.4e12), rtol=1e-6)
    best = found.optimum(1e22)
    product = TRUTH["chinchilla"]
    ratio = product["size_exponent"] * product["size_coefficient"] * best.size ** -product["size_exponent"]
    assert ratio == pytest.approx(
        product["data_exponent"] * product["data_coefficient"] * best.tokens ** -product["data_exponent"], rel=1e-4
    )
    noisy_loss, _ = repeated(seed=1)
    bounded = fit_size_law(law, SIZE, TOKENS, noisy_loss, unique_tokens=unique, replicates=50)
    assert bounded.lower["repeat_scale"] < 15.4 < bounded.upper["repeat_scale"] < 30
    assert bounded.error < 0.5 * fit_size_law(tsl.ChinchillaLaw(), SIZE, TOKENS, noisy_loss).error


@pytest.mark.parametrize(
    ("law", "unique", "message"),
    [
        (DataConstrainedLaw(), None, "unique_tokens: got none"),
        (DataConstrainedLaw(), TOKENS, "runs of 1 number"),
        (DataConstrainedLaw(), TOKENS[:3], "one a run"),
        (DataConstrainedLaw(), -TOKENS, "unique_tokens: got -"),
        (tsl.ChinchillaLaw(), TOKENS, "knows no repeated tokens"),
    ],
)
def test_unique_tokens_are_asked_for_by_the_law_that_knows_them(law, unique, message):
    with pytest.raises(ValueError, match=message):
        fit_size_law(law, SIZE, TOKENS, noisy("chinchilla"), unique_tokens=unique)


@pytest.mark.parametrize(
    ("size", "tokens", "loss", "options", "error", "message"),
    [
        (SIZE[:5], TOKENS[:5], SIZE[:5], {}, ValueError, "got 5 runs for the 5 parameters of the law of chinchilla"),
        (SIZE, TOKENS[:-1], SIZE, {}, ValueError, "size, tokens, loss: got shapes"),
        (SIZE, TOKENS, -SIZE, {}, ValueError, "loss: got -"),
        (SIZE, np.full(100, 1e9), SIZE, {}, ValueError, "tokens: got 1 different value"),
        (SIZE, TOKENS, SIZE, {"huber": 0.0}, ValueError, "huber: got 0.0"),
        (SIZE, TOKENS, SIZE, {"level": 2}, ValueError, "level: got 2"),
        (SIZE, TOKENS, SIZE, {"replicates": -1}, ValueError, "replicates: got -1"),
        (SIZE, TOKENS, ["a"] * 100, {}, TypeError, "loss"),
    ],
)
def test_bad_input_says_what_to_do(size, tokens, loss, options, error, message):
    with pytest.raises(error, match=message):
        fit_size_law(tsl.ChinchillaLaw(), size, tokens, loss, **options)
    with pytest.raises(TypeError, match="law: got str"):
        fit_size_law("chinchilla", SIZE, TOKENS, SIZE)


def test_budgets_must_be_positive(fit):
    with pytest.raises(ValueError, match="flops: got -1"):
        fit.optimum(-1.0)
    assert isinstance(SIZE_LAWS["kaplan"], KaplanLaw)
