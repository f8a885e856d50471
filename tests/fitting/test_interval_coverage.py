"""How often 90% intervals hold what was planted: inside the window, near and past its end, steps, correlated noise.

`python -m pytest tests/fitting/test_interval_coverage.py -s` prints the rates; a rate of 1,500 curves is known to 0.8%.
"""

import functools

import numpy as np
import pytest

from tsl_jax import Sigmoid, fit, noise_model, profile_interval

FAMILY, LEVEL, CURVES, SEED = Sigmoid(scale="log"), 0.9, 1500, 11
INSIDE, STEPS = (0.1, 0.9), None
BEFORE_THE_START, FIRST_TENTH, LAST_TENTH, PAST_THE_END = (-0.1, 0.0), (0.0, 0.1), (0.9, 1.0), (1.0, 1.1)


def axis(n):
    return np.geomspace(10, 1e5, n)


def noise(rng, curves, n, rho):
    """Autoregressive noise of first order and variance 1."""
    normal = rng.standard_normal((curves, n))
    for i in range(1, n):
        normal[:, i] = rho * normal[:, i - 1] + np.sqrt(1 - rho**2) * normal[:, i]
    return normal


def planted(rng, curves, n, rho, place):
    """Named parameters and losses; events somewhere in ``place``, in windows, or sharp ones between two checkpoints."""
    u = np.log(axis(n))
    window, gap = u[-1] - u[0], u[1] - u[0]
    if place is STEPS:
        at = u[rng.integers(4, n - 5, curves)] + gap * rng.uniform(0, 1, curves)
        sharpness = rng.uniform(20, 80, curves) / gap
    else:
        at = u[0] + window * rng.uniform(*place, curves)
        sharpness = 6 / (window * np.exp(rng.uniform(np.log(0.08), np.log(0.5), curves)))
    truth = {
        "learning_time": np.exp(at),
        "sharpness": sharpness,
        "loss_drop": rng.uniform(1, 6, curves),
        "final_loss": rng.uniform(0.3, 3, curves),
    }
    logit = np.clip(sharpness[:, None] * (u - at[:, None]), -80, 80)
    losses = truth["final_loss"][:, None] + truth["loss_drop"][:, None] / (1 + np.exp(logit))
    losses = losses + rng.uniform(0.1, 0.5, curves)[:, None] * noise(rng, curves, n, rho)
    return truth, losses.astype(np.float32)


@functools.cache
def model(n, rho):
    return noise_model(FAMILY, axis(n), planted(np.random.default_rng(SEED), 2000, n, rho, INSIDE)[1])


def rates(name, n, rho, place):
    """How often the profile interval and the one from the standard error hold the truth."""
    truth, losses = planted(np.random.default_rng(SEED + 1), CURVES, n, rho, place)
    profile = profile_interval(FAMILY, axis(n), losses, name, level=LEVEL, noise=model(n, rho))
    quadratic = fit(FAMILY, axis(n), losses, noise=model(n, rho)).interval(name, LEVEL)

    def held(interval, chosen=slice(None)):
        return float(np.mean(((interval.lower <= truth[name]) & (truth[name] <= interval.upper))[chosen]))

    found = held(profile), held(quadratic)
    open_ = ~np.isfinite(np.asarray(profile.upper)) & ~(np.asarray(profile.lower) > 0)
    words = f"{found[0]:.3f} (open to both sides {open_.mean():.3f}, the others {held(profile, ~open_):.3f}; "
    print(f"seed {SEED}: {name}, n={n}, correlation {rho}, place {place}: {words}quadratic {found[1]:.3f})")
    return found


@pytest.mark.parametrize("name", FAMILY.names)
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.7])
def test_events_inside_the_window(name, rho):
    assert 0.87 <= rates(name, 64, rho, INSIDE)[0] <= 0.93


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.7])
def test_events_inside_the_window_with_more_checkpoints(rho):
    assert 0.87 <= rates("learning_time", 128, rho, INSIDE)[0] <= 0.93


@pytest.mark.parametrize("place", [BEFORE_THE_START, FIRST_TENTH], ids=["before_the_start", "first_tenth"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.7])
def test_events_near_and_before_the_start(rho, place):
    assert rates("learning_time", 64, rho, place)[0] >= 0.85


@pytest.mark.parametrize("place", [LAST_TENTH, PAST_THE_END], ids=["last_tenth", "past_the_end"])
@pytest.mark.parametrize(("n", "rho"), [(64, 0.0), (64, 0.5), (64, 0.7), (128, 0.0), (128, 0.5), (128, 0.7)])
def test_events_near_and_past_the_end(n, rho, place):
    profile, quadratic = rates("learning_time", n, rho, place)
    assert profile >= 0.85
    assert quadratic < 0.8  # which is why there are profile intervals


@pytest.mark.parametrize("name", FAMILY.names)
def test_what_else_is_known_of_events_near_the_end(name):
    assert rates(name, 64, 0.5, LAST_TENTH)[0] >= 0.85


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_sharp_steps_between_two_checkpoints(rho):
    assert rates("learning_time", 64, rho, STEPS)[0] >= 0.85


def test_from_each_curve_s_own_residuals():
    truth, losses = planted(np.random.default_rng(SEED + 1), CURVES, 64, 0.5, INSIDE)
    found = profile_interval(FAMILY, axis(64), losses, "learning_time", level=LEVEL)
    rate = np.mean((found.lower <= truth["learning_time"]) & (truth["learning_time"] <= found.upper))
    print(f"seed {SEED}: learning_time, n=64, correlation 0.5, without a noise model: {rate:.3f}")
    assert rate >= 0.8


def test_intervals_tell_something():
    """Inside the window nearly all intervals are bounded on both sides, and as wide as the standard error says."""
    losses = planted(np.random.default_rng(SEED + 1), CURVES, 64, 0.0, INSIDE)[1]
    found = profile_interval(FAMILY, axis(64), losses, "learning_time", level=LEVEL, noise=model(64, 0.0))
    error = fit(FAMILY, axis(64), losses, noise=model(64, 0.0)).interval("learning_time", LEVEL)
    ends = [np.asarray(a, float) for a in (found.lower, found.upper, error.lower, error.upper)]
    bounded = np.all([(a > 0) & np.isfinite(a) for a in ends], axis=0)
    widths = [np.log(upper[bounded] / lower[bounded]) for lower, upper in (ends[:2], ends[2:])]
    assert bounded.mean() > 0.97
    assert 0.97 < np.median(widths[0] / widths[1]) < 1.1
