"""Noise as residuals show it: coverage of intervals, level of the test, and each formula beside a slow reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tsl_jax as tsl
from benchmarks.fitting.planted_noise import KINDS, PARAMETERS, Kind, Setting, draw_noise, judge, plant
from tests.tolerances import STDERR
from tsl_jax import Category, FitOptions, NoiseModel, Sigmoid, Status
from tsl_jax.fitting import degrees_of_freedom
from tsl_jax.fitting.noise import MOST_CORRELATION, assumed_noise, curve_noise
from tsl_jax.fitting.statistics import critical_value, normal_of_t

FREE = FitOptions(min_plateau=None)
# Most settings here have 64 checkpoints, and few curves or CURVES: what is compiled serves several tests.
CURVES, SEED = 1500, 11
#: Half width of what chance does to a share of 90% of CURVES.
CHANCE = 3 * np.sqrt(0.9 * 0.1 / CURVES)


def setting_and_model(checkpoints, kind, seed=SEED, curves=CURVES):
    rng, setting = np.random.default_rng(seed), Setting(checkpoints)
    truth, losses = plant(rng, setting, curves, kind)
    return setting, truth, losses, tsl.noise_model(setting.family, setting.time, losses, options=FREE)


@pytest.mark.parametrize("name", KINDS)
def test_intervals_hold_what_they_claim_with_a_noise_model(name):
    found = judge(Setting(64), KINDS[name], CURVES, SEED, shared=True)
    print(f"seed {SEED}, {name}: {found}")
    least = 0.82 if KINDS[name].correlation > 0.8 else 0.87
    for parameter, share in found["coverage"].items():
        assert least - CHANCE < share < (0.99 if KINDS[name].correlation > 0.8 else 0.96), parameter
    assert found["false_events"] <= 0.015
    assert found["found"] > (0.3 if KINDS[name].correlation > 0.8 else 0.85)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.correlation < 0.8])
def test_each_curve_alone_says_nearly_as_much(name):
    found = judge(Setting(64), KINDS[name], CURVES, SEED, shared=False)
    print(f"seed {SEED}, {name}: {found}")
    assert min(found["coverage"].values()) > 0.80 - CHANCE
    assert found["false_events"] <= 0.015


@pytest.mark.parametrize(("checkpoints", "scale"), [(16, "log"), (32, "linear")])
def test_few_checkpoints_and_the_linear_scale(checkpoints, scale):
    found = judge(Setting(checkpoints, scale), KINDS["AR(1) 0.3"], CURVES, SEED, shared=True)
    print(f"seed {SEED}: {found}")
    assert min(found["coverage"].values()) > 0.84 - CHANCE


def test_independent_noise_claims_too_much_where_noise_is_correlated():
    setting, _, losses, model = setting_and_model(64, KINDS["AR(1) 0.7"])
    error = {}
    for noise in ("independent", "correlated"):
        options = FitOptions(min_plateau=None, noise=noise)
        fit = tsl.fit(
            setting.family, setting.time, losses, options=options, noise=None if noise == "independent" else model
        )
        error[noise] = np.asarray(fit.stderr["final_loss"])
    ratio = np.nanmedian(error["correlated"] / error["independent"])
    assert 1.7 < ratio < 2.8  # sqrt of (1 + ρ)/(1 - ρ) = 5.7 for a mean, less for what is seen over few checkpoints


def dense_errors(setting, fit, curves, correlation, std):
    """Errors of (u_learn, ln sharpness, drop, final loss) of some curves from the dense covariance, in float64."""
    u = setting.coordinate(setting.time)
    p = {name: np.asarray(value, np.float64)[:, None] for name, value in fit.params.items()}
    p = {name: value[curves] for name, value in p.items()}
    z = p["sharpness"] * (u - setting.coordinate(p["learning_time"]))
    f = 1 / (1 + np.exp(z))
    slope = p["loss_drop"] * f * (1 - f)
    jacobian = np.stack([slope * p["sharpness"], -slope * z, f, np.ones_like(f)], -1)
    lags = np.abs(np.subtract.outer(np.arange(len(u)), np.arange(len(u))))
    errors = []
    covariance = correlation**lags * np.outer(std, std) / np.mean(std**2)
    for j, rss in zip(jacobian, np.asarray(fit.rss, np.float64)[curves], strict=True):
        bread = np.linalg.inv(j.T @ j)
        meat = j.T @ covariance @ j
        variance = rss / (len(u) - np.trace(bread @ meat))
        errors.append(np.sqrt(variance * np.diag(bread @ meat @ bread)))
    return np.array(errors)


@pytest.mark.usefixtures("each_kernel")
@pytest.mark.parametrize("growth", [1.0, 3.0])
def test_errors_are_those_of_the_dense_covariance(growth):
    setting, _, losses, model = setting_and_model(64, Kind(0.5, growth), curves=256)
    # A model of one correlation for all, so that the reference needs no estimate of its own.
    n = setting.checkpoints
    std = np.asarray(model.std)
    fixed = NoiseModel(
        time=model.time, std=std, correlation=np.full(n - 1, 0.5), lag_mean=np.asarray(0.5),
        lag_variance=np.asarray(0.0), growth_mean=np.asarray(0.0), growth_variance=np.asarray(0.0),
    )  # fmt: skip
    fit = tsl.fit(setting.family, setting.time, losses, options=FREE, noise=fixed)
    good = np.asarray(fit.category == Category.LEARNED) & np.asarray(fit.status == Status.CONVERGED)
    good &= np.asarray(fit.params["sharpness"]) * np.diff(np.log(setting.time))[0] < 3  # seen at several checkpoints
    expected = dense_errors(setting, fit, good, 0.5, std)
    got = {name: np.asarray(fit.stderr[name], np.float64) for name in PARAMETERS}
    got["learning_time"] /= np.asarray(fit.params["learning_time"])
    got["sharpness"] /= np.asarray(fit.params["sharpness"])
    for k, name in enumerate(PARAMETERS):
        np.testing.assert_allclose(got[name][good], expected[:, k], rtol=STDERR.float32, err_msg=name)
    assert good.sum() > 200


def test_a_curve_shows_its_own_correlation_and_growth():
    rng = np.random.default_rng(5)
    for rho, growth in ((0.0, 1.0), (0.6, 1.0), (0.3, 3.0)):
        setting = Setting(128)
        _, losses = plant(rng, setting, 512, Kind(rho, growth))
        fit = tsl.fit(setting.family, setting.time, losses, options=FREE)
        correlation = np.asarray(fit.noise_correlation)
        assert abs(np.mean(correlation) - rho) < 0.06  # at 0 it is bounded below
        assert np.all((correlation >= 0) & (correlation <= MOST_CORRELATION))
        expected = 128 * (1 - rho) / (1 + rho)
        assert 0.7 * expected < np.median(np.asarray(fit.effective_points)) < 1.3 * expected


def test_a_noise_model_finds_what_was_planted():
    for rho, growth in ((0.0, 1.0), (0.5, 1.0), (0.3, 4.0)):
        model = setting_and_model(64, Kind(rho, growth))[-1]
        planted = growth ** np.linspace(0, 1, 64)
        planted /= np.sqrt(np.mean(planted**2))
        assert np.max(np.abs(np.asarray(model.correlation) - rho)) < 0.1
        np.testing.assert_allclose(np.asarray(model.std), planted, rtol=0.2)
        assert float(model.lag_variance) < 0.01  # all curves have the same noise
        assert NoiseModel.from_dict(model.as_dict()).as_dict() == model.as_dict()


def test_a_noise_model_tells_curves_apart_that_differ():
    rng, setting = np.random.default_rng(SEED), Setting(128)
    parts = [plant(rng, setting, 400, Kind(rho))[1] for rho in (0.1, 0.7)]
    losses = np.concatenate(parts)
    model = tsl.noise_model(setting.family, setting.time, losses, options=FREE)
    assert 0.04 < float(model.lag_variance) < 0.16  # (0.3)² = 0.09
    fit = tsl.fit(setting.family, setting.time, losses, options=FREE, noise=model)
    low, high = np.split(np.asarray(fit.noise_correlation), 2)
    assert np.median(low) < 0.25
    assert np.median(high) > 0.55


def test_no_curve_affects_another():
    rng, setting = np.random.default_rng(SEED), Setting(64)
    _, losses = plant(rng, setting, 64, Kind(0.5))
    model = tsl.noise_model(setting.family, setting.time, losses, options=FREE)
    together = tsl.fit(setting.family, setting.time, losses, noise=model)
    others = losses.copy()
    others[1:] = np.nan
    alone = tsl.fit(setting.family, setting.time, others, noise=model)
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert np.array_equal(np.asarray(a)[0], np.asarray(b)[0], equal_nan=True)


def test_too_few_points_take_what_is_granted():
    setting = Setting(64)
    _, losses = plant(np.random.default_rng(3), setting, 64, Kind(0.5))
    model = tsl.noise_model(setting.family, setting.time, losses, options=FREE)
    losses[0, 10:] = np.nan  # 10 points: too few to say something of their noise
    alone = tsl.fit(setting.family, setting.time, losses)
    assert alone.noise_correlation[0] == 0
    assert alone.effective_points[0] == 10
    shared = tsl.fit(setting.family, setting.time, losses, noise=model)
    assert float(shared.noise_correlation[0]) == pytest.approx(float(model.lag_mean), abs=1e-6)


@pytest.mark.usefixtures("each_kernel")
def test_noise_that_cannot_be_estimated_is_independent_and_makes_nothing_nan():
    setting = Setting(64)
    _, losses = plant(np.random.default_rng(3), setting, 24, Kind(0.5))
    losses[:8, np.arange(64) % 6 != 0] = np.nan  # 11 points: one too few
    losses[8:16] = np.where(np.arange(64) < 20, 5.0, 2.0)  # residuals of 0
    found = tsl.fit(setting.family, setting.time, losses, options=FREE)
    independent = tsl.fit(
        setting.family, setting.time, losses, options=FitOptions(min_plateau=None, noise="independent")
    )
    few, exact, known = slice(None, 8), slice(8, 16), slice(16, None)
    assert np.all(np.asarray(found.noise_correlation)[:16] == 0)
    assert np.all(np.asarray(found.noise_correlation)[known] > 0)
    np.testing.assert_allclose(np.asarray(found.effective_points)[:16], np.asarray(found.num_points)[:16], rtol=1e-6)
    for name in PARAMETERS:
        error, expected = (np.asarray(fit.stderr[name]) for fit in (found, independent))
        # NaN where it is for independent noise, too: of few points not all tell an event's place.
        np.testing.assert_allclose(error[few], expected[few], rtol=STDERR.float32, err_msg=name)
        assert np.all(np.isfinite(error[exact]) & np.isfinite(expected[exact])), name
        assert np.all(np.isfinite(error[known])), name
    assert np.all(np.isfinite(np.asarray(found.second_event)))
    assert np.allclose(sum(np.asarray(share) for share in found.probabilities.values()), 1, atol=1e-5)


def test_residuals_of_nothing_say_nothing():
    noise = assumed_noise("correlated", None, 32, jnp.float32)
    zero = jnp.zeros(3)
    found = curve_noise(noise, 4, jnp.full(3, 32), zero, zero, zero, zero)
    for values, expected in zip(found, (0, 0, 0, 1), strict=True):
        np.testing.assert_array_equal(np.asarray(values), expected)


def test_sharp_steps_have_the_errors_of_what_is_known():
    # Between two checkpoints, the event may be anywhere; the plateaus are known as well as their points are many.
    x = np.arange(27.0)
    rng = np.random.default_rng(0)
    losses = np.where(x < 16, 0.5, 1.6) + 0.05 * rng.standard_normal((50, 27))
    fit = tsl.fit(Sigmoid(scale="linear"), x, losses.astype(np.float32), options=FitOptions(noise="independent"))
    event, error = (np.asarray(values["learning_time"]) for values in (fit.params, fit.stderr))
    assert np.all((event > 15) & (event < 16))
    inside = np.isclose(error, np.sqrt(1 / 12), rtol=1e-3)
    assert inside.mean() > 0.5
    assert np.all(error < 0.5)  # the others have a checkpoint on their way down
    assert np.all(np.asarray(fit.stderr["final_loss"]) < 0.05)
    assert np.all(np.asarray(fit.stderr["loss_drop"]) < 0.05)


def test_one_outlier_is_no_event():
    losses = np.full((27, 64), 3.0) + 0.01 * np.random.default_rng(1).standard_normal((27, 64))
    for k in range(27):
        losses[k, 2 * k : 2 * k + 1 + k % 2] += 1.0 if k % 2 == 0 else 0.0
        losses[k, -1] += 1.0 if k % 3 == 0 else 0.0
    fit = tsl.fit(Sigmoid(), np.geomspace(10, 1e4, 64), losses.astype(np.float32))
    single = np.array([k % 2 == 0 and k % 3 != 0 for k in range(27)])
    assert np.all(np.asarray(fit.category)[single] == Category.UNLEARNED)


def test_probabilities_are_those_of_the_categories():
    setting = Setting(64)
    _, losses = plant(np.random.default_rng(2), setting, 256, Kind(0.5), window=(-0.1, 1.1))
    fit = tsl.fit(setting.family, setting.time, losses)
    names = ("unlearned", "learned", "early", "late")
    assert sorted(fit.probabilities) == sorted(names)
    stacked = np.stack([np.asarray(fit.probabilities[name]) for name in names])
    usable = np.asarray(fit.category) != Category.NONE
    np.testing.assert_allclose(stacked[:, usable].sum(axis=0), 1, atol=1e-5)
    order = np.array([Category.UNLEARNED, Category.LEARNED, Category.EARLY, Category.LATE])
    np.testing.assert_array_equal(order[stacked.argmax(axis=0)][usable], np.asarray(fit.category)[usable])


def test_critical_values_and_quantiles_are_those_of_the_distributions():
    from scipy import stats

    effective = np.geomspace(0.5, 1e6, 400)
    for level in (1e-3, 0.01, 0.2):
        expected = 1.1 * stats.f.ppf(1 - level, 3, effective + 1)
        np.testing.assert_allclose(critical_value(level, 3, jnp.asarray(effective, jnp.float32)), expected, rtol=1e-3)
    for freedom in (1.0, 4.0, 30.0):
        t = np.linspace(-6, 6, 41)
        got = stats.norm.cdf(np.asarray(normal_of_t(jnp.asarray(t), freedom)))
        np.testing.assert_allclose(got, stats.t.cdf(t, freedom), atol=0.011 if freedom < 4 else 2e-3)
    assert float(degrees_of_freedom(0.5, 64)) == pytest.approx(64 * 0.75 / 1.25 - 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": "correlated"}, "noise: got str"),
        ({"time": Setting(64).time * 2}, "noise: the model is for 64 other checkpoints"),
        ({"options": FitOptions(noise="independent")}, "noise: a model was given"),
    ],
)
def test_bad_noise_is_refused(change, message):
    setting, _, losses, model = setting_and_model(64, Kind(), curves=64)
    arguments = {"time": setting.time, "noise": model, "options": FitOptions()} | change
    with pytest.raises((TypeError, ValueError), match=message):
        tsl.fit(setting.family, arguments.pop("time"), losses, **arguments)


def test_noise_models_want_enough_curves():
    setting = Setting(64)
    _, losses = plant(np.random.default_rng(0), setting, 8, Kind())
    with pytest.raises(ValueError, match="8 of 8 curves have residuals to learn from, expected at least 32"):
        tsl.noise_model(setting.family, setting.time, losses)
    with pytest.raises(ValueError, match="noise: got"):
        NoiseModel.from_dict({"time": [1.0]})


def test_noise_without_correlation_keeps_the_classic_errors():
    setting = Setting(64)
    noise = 0.2 * draw_noise(np.random.default_rng(4), 256, 64, Kind())
    losses = (2 + 3 / (1 + (setting.time / 1000) ** 2) + noise).astype(np.float32)
    fits = [
        tsl.fit(setting.family, setting.time, losses, options=FitOptions(noise=kind))
        for kind in ("independent", "correlated")
    ]
    ratio = np.asarray(fits[1].stderr["loss_drop"]) / np.asarray(fits[0].stderr["loss_drop"])
    assert 0.97 < np.median(ratio) < 1.1
