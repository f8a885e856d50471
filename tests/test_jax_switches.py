"""A program that has switched on JAX's checks of its own code uses this package as any other does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tsl_jax as tsl
from tsl_jax.jax_switches import own_switches
from tsl_jax.reshape import bucket_of, bucket_weights, effective_sample_size, event_probability, score_sequences
from tsl_jax.simulate import trajectories
from tsl_jax.spectrum import bands, decompose, fit_tail, implied_loss
from tsl_jax.temporal import collapse, compare_axes, evenness, growth_exponent, schedule_from_rates

SWITCHES = {
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_debug_nans": True,
    "jax_debug_infs": True,
}
STEP = np.geomspace(1.0, 1e4, 40)
RNG = np.random.default_rng(3)
TRUTH = {"learning_time": np.geomspace(30, 800, 64)[:, None], "sharpness": 2.0, "loss_drop": 4.0, "final_loss": 1.0}
U = TRUTH["sharpness"] * (np.log(STEP) - np.log(TRUTH["learning_time"]))
#: Clean in the middle; a gap, and a curve that cannot be fitted.
LOSSES = (1 + 4 / (1 + np.exp(U)) + 0.05 * RNG.standard_normal((64, 40))).astype("float32")
LOSSES[1, 3], LOSSES[2] = np.nan, np.nan
FALLING = 2 + 3 * STEP**-0.4 + 1e-3 * RNG.standard_normal(40)
POSITION = np.arange(1, 33)
MEANS = (3 / (1 + np.linspace(0.3, 0.2, 12)[:, None] * POSITION) + 4).astype("float32")
SIGMOID = tsl.Sigmoid()


@pytest.fixture(scope="module", autouse=True)
def switched_on():
    """All switches, for this module."""
    before = {name: getattr(jax.config, name) for name in SWITCHES}
    for name, value in SWITCHES.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def fit(switched_on):
    return tsl.fit(SIGMOID, STEP, LOSSES)


def test_the_switches_are_on_outside_and_off_inside():
    with pytest.raises(ValueError, match="rank_promotion"):
        _ = jnp.ones((2, 3)) + jnp.ones(3)
    with pytest.raises(FloatingPointError):
        _ = jnp.log(jnp.asarray(-1.0)).block_until_ready()
    with own_switches():
        assert not jax.config.jax_debug_nans
        _ = jnp.ones((2, 3)) + jnp.ones(3, "int32"), jnp.log(jnp.asarray(-1.0))
    assert jax.config.jax_debug_nans


def test_fits_are_those_without(fit):
    assert fit.status[0] == tsl.Status.CONVERGED
    assert fit.status[2] == tsl.Status.TOO_FEW_POINTS
    with own_switches():
        same = tsl.fit(SIGMOID, STEP, LOSSES)
    for left, right in zip(jax.tree.leaves(fit), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("family", [tsl.PowerLaw(), tsl.Hyperbola()], ids=lambda family: family.name)
def test_other_families(family):
    assert int(tsl.fit(family, STEP, FALLING.astype("float32"), np.ones(40)).status) in (0, 2)


@pytest.mark.parametrize("options", [{"kernel": "xla"}, {"huber_threshold": 1.345}], ids=str)
def test_other_options(options):
    assert tsl.fit(SIGMOID, STEP, LOSSES[:1], options=tsl.FitOptions(**options)).status[0] == 0


def test_transformed_by_jax():
    def learning_time(losses):
        return tsl.fit(SIGMOID, STEP, losses).params["learning_time"]

    assert np.isfinite(jax.jit(jax.vmap(learning_time))(LOSSES[3:5, None])).all()
    assert np.isfinite(jax.grad(lambda y: learning_time(y)[0])(jnp.asarray(LOSSES[:1]))).all()
    # The outer program is traced first, and differentiated when nothing of this package is being called.
    assert np.isfinite(jax.grad(jax.jit(lambda y: learning_time(y)[0]))(jnp.asarray(LOSSES[:1]))).all()


def test_what_follows_from_fits(fit):
    assert fit.predict([10.0, 100.0]).shape == (64, 2)
    assert fit.interval("learning_time").lower.shape == fit.degrees_of_freedom.shape == (64,)
    assert np.isfinite(tsl.profile_interval(SIGMOID, STEP, LOSSES[:2], "loss_drop").lower).all()
    model = tsl.noise_model(SIGMOID, STEP, LOSSES)
    assert tsl.fit(SIGMOID, STEP, LOSSES, noise=model).status[0] == 0
    assert tsl.curve_counts(fit.status, fit.category)[0]
    assert SIGMOID.curve(STEP, TRUTH).shape == LOSSES.shape


def test_least_squares():
    def residual(p, x, y):
        return p["level"] * jnp.exp(-p["rate"] * x) - y

    x = jnp.linspace(0.0, 4.0, 20)
    start = {"level": 1.0, "rate": 1.0}
    found = tsl.least_squares(residual, start, x, 3 * jnp.exp(-0.5 * x), bounds=(0.0, None))
    np.testing.assert_allclose(found.params["rate"], 0.5, rtol=1e-4)

    def rate(y):
        return tsl.least_squares(residual, start, x, y).params["rate"]

    assert np.isfinite(jax.grad(jax.jit(rate))(3 * jnp.exp(-0.5 * x))).all()


def test_spectrum(fit):
    spectrum = tsl.Spectrum.from_fits(fit, STEP)
    assert spectrum.tokens["LEARNED"] > 50
    assert (spectrum + spectrum).tokens["LEARNED"] > 100
    parts = decompose(spectrum)
    assert np.isfinite(parts.convolved).all()
    assert np.isfinite(implied_loss(spectrum, STEP)).all()
    assert np.isfinite(bands(decompose, spectrum, jax.random.key(0), replicates=8).low.implied).all()
    assert fit_tail(spectrum).exponent.shape == ()


def test_laws_of_positions():
    law = tsl.position_law(POSITION, MEANS, np.full(MEANS.shape, 1e-3))
    assert law.predict(POSITION).shape == MEANS.shape
    assert law.coordinates()[0].shape == (12, 2)
    course = tsl.evolution(STEP[:12], law.params["amplitude"])
    assert np.isfinite(course.predict(STEP[:12])).all()
    assert tsl.separation(STEP[:12], law).point.shape == ()
    counts = np.full((3, *MEANS.shape), 50.0)
    assert evenness(STEP[:12], POSITION, np.broadcast_to(MEANS, counts.shape), counts, bins=2) is not None


def test_laws_of_time():
    assert np.isfinite(tsl.time_law(STEP, FALLING).params["exponent"])
    assert np.isfinite(compare_axes(STEP * 1e-3, STEP, FALLING).delta_aic)
    assert np.isfinite(growth_exponent(STEP, STEP**0.5).exponent)
    schedule = schedule_from_rates(np.full(20_000, 1e-3))
    assert tsl.lr_sum(schedule, [0, 10, 100]).shape == (3,)
    assert np.isfinite(collapse([STEP, STEP], [FALLING, FALLING + 0.1]).spread).all()
    assert np.isfinite(tsl.forecast(STEP, FALLING, [2e4], learning_rate=schedule, paths=20).mean).all()
    runs = [{"step": STEP, "loss": FALLING + more} for more in (0.0, 0.1)]
    assert tsl.rank(runs, 2e4, paths=20, fractions=[1.0]).order.tolist() == [0, 1]


def test_sampling_and_simulation(fit):
    score = np.linspace(0.0, 1.0, 40)
    bucket = bucket_of(score, 4)
    assert float(effective_sample_size(bucket_weights(bucket, 4))) > 1
    assert score_sequences(np.asarray([0.1, 0.9]), np.asarray([True, True]), np.asarray([0, 0])) is not None
    likely = event_probability(fit.params, fit.stderr, fit.status, fit.probabilities["unlearned"], (10.0, 1e3))
    assert 0 <= float(likely[0]) <= 1
    assert trajectories(STEP, 4).losses.shape == (4, 40)


def test_stores(tmp_path):
    tsl.create_losses(tmp_path / "losses", LOSSES, checkpoints={"step": STEP})
    summary = tsl.fit_store(tmp_path / "losses", tmp_path / "fits", SIGMOID, noise=None)
    assert summary.status_counts["CONVERGED"] > 50
