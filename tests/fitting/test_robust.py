"""Huber's M-estimator: spikes, clean data, scipy's objective, and the size of the standard errors."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import expit

from tests.fitting.planted import AXIS, CHECKPOINTS, CURVES, SIGMOID, clean, fitter, noisy, truth
from tsl_jax import Category, FitOptions, Sigmoid, fit

pytestmark = pytest.mark.usefixtures("each_kernel")

THRESHOLD = 1.345
ROBUST = FitOptions(starts=1, huber_threshold=THRESHOLD)


def spiky(seed=0, share=0.1):
    rng = np.random.default_rng(seed)
    return (noisy(seed) + np.where(rng.random((CURVES, CHECKPOINTS)) < share, 5, 0)).astype(np.float32)


def errors(found):
    """Distance to the planted parameters: ln of the learning time, nat for the plateaus."""
    time = np.log(found.params["learning_time"] / truth()["learning_time"][:, 0])
    drop, final = (found.params[name] - truth()[name][:, 0] for name in ("loss_drop", "final_loss"))
    return np.abs(np.stack([time, drop, final]))


def test_spikes_hardly_move_the_curve():
    robust, plain = (
        np.concatenate([errors(fitter(options=options)(spiky(seed))) for seed in range(6)], axis=1)
        for options in (ROBUST, FitOptions(starts=1))
    )
    print("median errors, robust:", np.median(robust, axis=1), "plain:", np.median(plain, axis=1))
    assert np.all(np.median(robust, axis=1) < np.median(plain, axis=1) / 4)
    assert np.all(np.quantile(robust, 0.9, axis=1) < np.quantile(plain, 0.9, axis=1) / 2)


def test_on_clean_data_nearly_the_plain_fit():
    robust, plain = fitter(options=ROBUST)(noisy()), fitter()(noisy())
    z = np.stack([np.abs(robust.params[n] - plain.params[n]) / plain.stderr[n] for n in SIGMOID.names])
    assert np.median(z) < 0.3
    assert np.quantile(z, 0.95) < 1.2
    without_noise = fitter(options=ROBUST)(clean())
    np.testing.assert_allclose(without_noise.params["learning_time"], truth()["learning_time"][:, 0], rtol=1e-2)


def huber_scipy(losses, start, scale):
    u = np.log(AXIS)

    def residual(p):
        return p[3] + p[2] * expit(-p[1] * (u - p[0])) - losses

    found = least_squares(residual, start, loss="huber", f_scale=THRESHOLD * scale, x_scale=[1, 1, 1, 1], xtol=1e-12)
    return found.x, residual(found.x)


def test_the_same_estimate_as_scipy_with_the_noise_scale_iterated():
    losses = spiky(seed=1)
    found = fitter(options=ROBUST)(losses)
    agree = 0
    for k in range(CURVES):
        p = np.array(
            [np.log(found.params["learning_time"][k]), *(found.params[n][k] for n in SIGMOID.names[1:])],
            float,
        )
        u = np.log(AXIS)
        r = p[3] + p[2] / (1 + np.exp(p[1] * (u - p[0]))) - losses[k]
        for _ in range(30):  # scale and curve in turn, to their common fixed point
            size = np.sort(np.abs(r))[(CHECKPOINTS - 1) // 2]
            scale = 1.4826 * size * np.sqrt(CHECKPOINTS / (CHECKPOINTS - 4))
            q, r = huber_scipy(losses[k].astype(float), p, scale)
        unit = 0.05 / np.sqrt(CHECKPOINTS)
        agree += abs(q[3] - p[3]) < 0.5 * unit and abs(q[2] - p[2]) < unit and abs(q[0] - p[0]) < 0.02
    print(f"{agree} of {CURVES} agree")
    assert agree >= CURVES - 2


def test_standard_errors_by_simulation():
    for sample in (noisy, spiky):
        fits = [fitter(options=ROBUST)(sample(seed)) for seed in range(40)]
        for name in ("learning_time", "loss_drop", "final_loss"):
            z = np.concatenate([(f.params[name] - truth()[name][:, 0]) / f.stderr[name] for f in fits])
            width = np.subtract(*np.nanquantile(z, [0.84, 0.16])) / 2
            print(sample.__name__, name, f"spread of z {width:.2f}")
            assert 0.7 < width < 1.4


def of_events(losses):
    """Share of curves that a robust fit calls events, and their drops."""
    step = np.geomspace(1, 1e5, losses.shape[1])
    found = fit(Sigmoid(), step, losses, options=FitOptions(huber_threshold=THRESHOLD))
    event = np.isin(np.asarray(found.category), (Category.LEARNED, Category.EARLY, Category.LATE))
    return event.mean(), np.asarray(found.params["loss_drop"])[event]


def test_a_constant_with_spikes_has_no_event():
    losses = np.full((300, 64), 3, np.float32)
    for seed, row in enumerate(losses):
        rng = np.random.default_rng(seed)
        number = rng.integers(1, 6)
        row[rng.choice(64, number, False)] += rng.uniform(0.5, 5, number)
    assert of_events(losses)[0] == 0
    share, drops = of_events(losses + 0.01 * np.random.default_rng(0).standard_normal(losses.shape).astype("f4"))
    print(share, drops)
    assert share <= 0.02


@pytest.mark.parametrize(("mean", "noise"), [(3, 6e-4), (1e-3, 2e-7)])
def test_noise_below_the_spacing_of_float16_has_no_events(mean, noise):
    losses = (mean + noise * np.random.default_rng(0).standard_normal((2000, 64))).astype(np.float16)
    losses = losses[np.ptp(losses.astype(np.float32), axis=1) > 0]
    assert len(losses) > 1000
    share, _ = of_events(losses)
    print(share)
    assert share <= 0.01
