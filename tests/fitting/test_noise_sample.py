"""Samples that `noise_model` is given: gaps, odd numbers of curves, and too few of them."""

import numpy as np
import pytest

from tsl_jax.curves import Hyperbola
from tsl_jax.fitting import FitOptions, TooFewCurvesError, noise_model

TIME = np.arange(1.0, 33.0)


def noisy(curves, seed=0):
    rng = np.random.default_rng(seed)
    clean = 3 / (1 + 0.3 * TIME) + 2
    return (clean + rng.normal(0, 0.1, (curves, len(TIME)))).astype("float32")


def numbers_of(model):
    return np.concatenate([np.ravel(value) for value in model.as_dict().values()])


def test_a_checkpoint_that_no_curve_has_leaves_the_model_finite():
    losses = noisy(200)
    whole = noise_model(Hyperbola(), TIME, losses)
    losses[:, 7] = np.nan
    model = noise_model(Hyperbola(), TIME, losses)
    assert np.isfinite(numbers_of(model)).all()
    assert 0.9 < model.std[7] < 1.1
    others = np.arange(len(TIME)) != 7
    np.testing.assert_allclose(model.std[others], whole.std[others], rtol=0.1)


@pytest.mark.parametrize("kernel", ["auto", "xla"])
def test_rows_without_losses_change_nothing(kernel):
    """Of any number of curves: they are padded to a few sizes."""
    losses, options = noisy(301), FitOptions(kernel=kernel)
    more = np.concatenate([losses, np.full((77, len(TIME)), np.nan, "float32")])
    one, other = (numbers_of(noise_model(Hyperbola(), TIME, rows, options=options)) for rows in (losses, more))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_too_few_curves_are_an_error_of_its_own():
    flat = np.full((100, len(TIME)), 2.5, "float32")
    flat[:31] = noisy(31)
    with pytest.raises(TooFewCurvesError, match="31 of 100 curves have residuals"):
        noise_model(Hyperbola(), TIME, flat)
