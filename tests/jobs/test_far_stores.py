"""Fit stores of windows far from 0: times in float64, and what follows from them."""

import numpy as np
import pytest
import zarr

import tsl_jax as tsl
from tsl_jax.jobs import mean_curves, predict_store, spectrum_of
from tsl_jax.reshape import event_probability

TOKENS, POINTS, NOISE = 300, 64, 0.02
STEP = 2**24 + np.arange(POINTS)


@pytest.fixture(scope="module", params=["linear", "log"])
def far(request):
    """Losses, the events' places in the window, and the open store of their fits."""
    rng = np.random.default_rng(3)
    place = rng.uniform(0.1, 0.9, (TOKENS, 1))
    losses = 1 + 4 / (1 + np.exp(30 * (np.linspace(0, 1, POINTS) - place)))
    losses = (losses + NOISE * rng.standard_normal(losses.shape)).astype("float32")
    source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
    tsl.create_losses(source, losses, checkpoints={"step": STEP})
    tsl.fit_store(source, target, tsl.Sigmoid(scale=request.param))
    return source, losses, place[:, 0], tsl.open_fits(target)


def test_times_are_stored_as_float64_and_right(far):
    _, losses, place, fits = far
    stored = fits.read()
    time, error = stored.params["learning_time"], stored.stderr["learning_time"]
    assert time.dtype == np.float64
    assert stored.params["sharpness"].dtype == np.float32
    assert 0.85 < np.sqrt(np.mean(np.square((time - STEP[0] - place * (POINTS - 1)) / error))) < 1.15
    alone = tsl.fit(tsl.Sigmoid(scale=fits.scale), STEP.astype(float), losses).params["learning_time"]
    assert np.sqrt(np.mean(np.square(time - alone))) < 0.1 * np.median(error)  # the noise of all tokens is known there


def test_predictions_are_as_near_as_the_fits(far):
    source, losses, _, fits = far
    missed = predict_store(fits) - losses
    np.testing.assert_allclose(np.sum(np.square(missed), axis=1), fits.read().rss, rtol=2e-3)
    means = mean_curves(source, fits)
    np.testing.assert_allclose(means.mean_fit, means.mean_loss, atol=5 * NOISE / np.sqrt(TOKENS))


def test_scores_count_the_events_of_a_window(far):
    *_, place, fits = far
    stored = fits.read()
    window = STEP[0] + 0.3 * (POINTS - 1), STEP[0] + 0.6 * (POINTS - 1)
    likely = event_probability(
        stored.params, stored.stderr, stored.status, stored.probabilities["unlearned"], window, scale=fits.scale
    )
    inside = (place > 0.3) & (place < 0.6)
    assert np.sum(np.abs(np.asarray(likely) - inside)) < 0.02 * TOKENS


def test_a_spectrum_has_the_events_where_they_are(far):
    *_, place, fits = far
    spectrum = spectrum_of(fits)
    bins = np.asarray(spectrum.moments().count).sum((0, 2))[spectrum.grid.inside].reshape(16, -1).sum(1)
    assert np.sum(np.abs(bins - np.histogram(place, 16, (0, 1))[0])) <= 0.05 * TOKENS
