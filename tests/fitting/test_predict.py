"""Predictions: the curve, the constant, and which of them counts."""

import numpy as np
import pytest

from tests.fitting.planted import AXIS, CHECKPOINTS, CURVES, SIGMOID, fitter, noisy, sigmoid
from tsl_jax import Category, PowerLaw, Status, curve_counts
from tsl_jax.fitting import predict


@pytest.fixture(scope="module")
def mixed():
    losses = noisy()
    losses[0] = np.nan
    losses[1] = 2.5
    losses[2, 4:] = np.nan
    losses[3] = 3 + 0.1 * np.random.default_rng(3).standard_normal(CHECKPOINTS)
    losses[4, 3] = np.inf
    return losses, fitter()(losses)


def test_the_counted_prediction_is_the_curve_or_the_constant(mixed):
    losses, found = mixed
    time = np.array([0.5, 3.0, 1e3, 1e6])
    counted, curve, constant = (np.asarray(found.predict(time, kind)) for kind in ("counted", "curve", "constant"))
    assert counted.shape == (CURVES, 4)
    counts = np.asarray(curve_counts(found.status, found.category))
    np.testing.assert_array_equal(counts, [False] * 5 + [True] * 11)
    np.testing.assert_array_equal(counted[counts], curve[counts])
    np.testing.assert_array_equal(counted[~counts], constant[~counts])
    assert found.category[3] == Category.UNLEARNED
    assert np.all(np.isfinite(curve[3]))  # the sigmoid of an unlearned token is there too
    np.testing.assert_allclose(constant[3], losses[3].mean(), rtol=1e-6)
    expected = sigmoid(time, {name: np.asarray(value, float)[5:, None] for name, value in found.params.items()})
    np.testing.assert_allclose(curve[5:], expected, rtol=1e-4)


def test_every_curve_with_usable_data_has_a_finite_prediction(mixed):
    _, found = mixed
    finite = np.isfinite(np.asarray(found.predict(np.array([0.0, 1.0, 1e30])))).all(axis=1)
    np.testing.assert_array_equal(finite, (found.num_points > 0) & (found.status != Status.NON_FINITE))


def test_a_power_law_beyond_float32_has_a_status_and_its_constant():
    # A drop between the first two checkpoints of a token axis: a^exponent leaves float32.
    tokens = np.geomspace(1e9, 1e12, CHECKPOINTS)
    losses = 3 + 1e-3 * np.random.default_rng(0).standard_normal((CURVES, CHECKPOINTS)).astype(np.float32)
    losses[:, 0] = np.linspace(4, 9, CURVES)
    found = fitter(PowerLaw(), axis=tokens)(losses)
    assert np.all(found.status == Status.NON_FINITE)
    predicted = np.asarray(found.predict(tokens))
    np.testing.assert_allclose(predicted, np.tile(losses.mean(axis=1)[:, None], CHECKPOINTS), rtol=1e-6)


def test_predict_from_stored_arrays(mixed):
    _, found = mixed
    arrays = (found.params, found.status, found.category, found.constant)
    np.testing.assert_array_equal(predict(SIGMOID, AXIS, *arrays), found.predict(AXIS))
    one = predict(SIGMOID, AXIS, {name: value[7] for name, value in found.params.items()}, *(a[7] for a in arrays[1:]))
    np.testing.assert_array_equal(one, np.asarray(found.predict(AXIS))[7])


def test_an_unknown_kind_is_refused(mixed):
    with pytest.raises(ValueError, match=r"kind: got 'mean', expected 'counted', 'curve' or 'constant'"):
        mixed[1].predict(AXIS, "mean")
