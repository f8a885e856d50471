"""Bands: their mechanics, and that they hold the truth as often as they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted_tokens import LOG, curves, mixed, spectrum_of, tokens

from tsl_jax import Category
from tsl_jax.spectrum import (
    Spectrum,
    SpectrumGrid,
    TokenBlock,
    accumulate,
    bands,
    binning_bound,
    compare,
    decompose,
    fit_tail,
    forecast,
    implied_loss,
    pulse_groups,
    pulse_modes,
    resample_of,
)
from tsl_jax.spectrum.bootstrap import _quantiles
from tsl_jax.spectrum.on_host import _quantile, known_bands_of_sums


def test_the_value_is_that_of_all_tokens():
    spectrum = spectrum_of(LOG, mixed(LOG))
    band = bands(decompose, spectrum, jax.random.key(0), replicates=30)
    for got, expected in zip(jax.tree.leaves(band.value), jax.tree.leaves(decompose(spectrum)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert np.all(band.low.implied <= band.high.implied)
    assert float(jnp.mean(band.high.implied - band.low.implied)) > 0


def test_known_sums_have_the_bands_of_a_program():
    spectrum = spectrum_of(LOG, mixed(LOG))
    key = jax.random.key(0)
    want = bands(decompose, spectrum, key, replicates=30)
    sums = jax.tree.map(np.asarray, spectrum.moments_by_resample())
    found = known_bands_of_sums(decompose, (sums,), key, replicates=30)
    for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-5)
    with pytest.raises(ValueError, match="replicates: got 1"):
        known_bands_of_sums(decompose, (sums,), key, replicates=1)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 1.0])
def test_quantiles_of_replicates_without_a_number_are_those_of_the_others(fraction):
    values = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    values[::3, 1], values[1:, 2], values[:, 3], values[:5, 4] = np.nan, np.nan, np.nan, np.inf
    (want,) = _quantiles(jnp.asarray(values), (fraction,))
    with np.errstate(invalid="ignore"):  # as where it is called
        np.testing.assert_allclose(_quantile(values, fraction), want, rtol=1e-6)


def tokens_and_events(moments, sums):
    return jnp.stack([moments.tokens, jnp.sum(moments.count), sums["number"], sums["losses"][1]])


def test_sums_are_resampled_with_the_spectrum():
    planted = mixed(LOG)
    spectrum = spectrum_of(LOG, planted)
    by_group = jnp.sum(spectrum.moments_by_resample().kinds[:, :5], 1)
    sums = {"number": by_group, "losses": by_group[:, None] * jnp.array([1.0, 2.0])}
    band = bands(tokens_and_events, spectrum, jax.random.key(1), sums=sums, replicates=50)
    for values in (band.value, band.low, band.high):
        np.testing.assert_allclose(values[2], values[0], rtol=1e-5)
        np.testing.assert_allclose(values[3], 2 * values[0], rtol=1e-5)
    assert float(band.low[0]) < 300 < float(band.high[0])
    with pytest.raises(ValueError, match="sums: got shape"):
        bands(tokens_and_events, spectrum, jax.random.key(1), sums={"number": by_group[:3]})


TIME = LOG.axis(np.linspace(LOG.edges[0], LOG.edges[-1], 20))


def everything(moments, sums):
    loss = sums["losses"] / sums["number"]
    return (
        compare(moments, TIME, loss, loss).split,
        forecast(moments, TIME, loss, [2000.0], lower=20.0).loss,
        pulse_groups(moments, 3).drop,
        pulse_modes(moments, groups=3).energy,
        binning_bound(moments).loss,
    )


def test_all_analyses_have_bands():
    planted = tokens(LOG, np.random.default_rng(0).uniform(0.5, 6.5, 500), 15.0, np.linspace(1, 5, 500))
    spectrum = spectrum_of(LOG, planted)
    group = np.asarray(resample_of(planted.sequence, LOG.resamples))
    losses = np.stack([curves(planted, np.log(TIME))[group == g].sum(0) for g in range(LOG.resamples)])
    sums = {"losses": jnp.asarray(losses), "number": jnp.asarray(np.bincount(group, minlength=LOG.resamples))}
    band = bands(everything, spectrum, jax.random.key(0), sums=sums, replicates=30)
    np.testing.assert_allclose(band.value[0]["sigmoid"], 0, atol=1e-6)
    whole = {name: values.sum(0) for name, values in sums.items()}
    expected = everything(spectrum.moments(), whole)
    for low, value, high, own in zip(*map(jax.tree.leaves, (band.low, band.value, band.high, expected)), strict=True):
        np.testing.assert_allclose(value, own, rtol=1e-3, atol=1e-4)
        assert np.all(low <= high)
        assert np.all(np.isfinite([low, high]))
    loss = band.value[1][0]
    assert float(band.low[1][0]) < float(loss) < float(band.high[1][0]) < float(whole["losses"][-1] / 500)


def tokens_of(moments):
    return moments.tokens


def test_tokens_alike_within_sequences_make_wide_bands():
    # 14 sequences of 50 tokens learned together against 700 independent tokens of the same distribution.
    grid = dataclasses.replace(LOG, resamples=64)
    u = np.random.default_rng(0).uniform(1, 6, 700)
    alike = tokens(grid, np.repeat(u[:14], 50), 15.0, sequence=np.repeat(np.arange(14), 50))
    alone = tokens(grid, u, 15.0)
    width = {}
    for name, planted in (("alike", alike), ("alone", alone)):
        band = bands(loss_in_the_middle, spectrum_of(grid, planted), jax.random.key(0), replicates=100)
        width[name] = float(band.high[0] - band.low[0])
    assert width["alike"] > 3 * width["alone"]


def loss_in_the_middle(moments):
    return implied_loss(moments, np.exp([3.5]))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"replicates": 1}, "replicates: got 1"), ({"level": 1.0}, r"level: got 1\.0, expected a share")],
)
def test_options_outside_their_range_raise(options, message):
    with pytest.raises(ValueError, match=message):
        bands(tokens_of, Spectrum.empty(LOG), jax.random.key(0), **options)


#: Coverage: a law of learning times with a power-law tail, tokens of a sequence alike, one pulse for all.
GRID = SpectrumGrid(1.0, 1000.0, "log", time_bins=32, sharpness_bins=12, outside_bins=2, resamples=64)
SEQUENCES, EACH, SEEDS = 256, 8, 200
BREAK, EXPONENT = 20.0, 1.8
PULSE_POINTS = np.array([26, 29, 32, 35, 38])
BINS = 4  # of the grid's time bins in one number, so that each holds enough events for a percentile band


def plant(key, sequences):
    """Tokens (learning time, drop), sequences whole: uniform in ln(a) to `BREAK`, then a power law to 1000."""
    one, two, three = jax.random.split(key, 3)
    # A common part within each sequence: a tenth of a sequence's tokens copy their first one.
    draw = jax.random.uniform(one, (sequences, EACH))
    copies = jax.random.uniform(two, (sequences, EACH)) < 0.1
    draw = jnp.where(copies, draw[:, :1], draw)
    early = jnp.exp(jnp.log(2.0) + jnp.log(BREAK / 2) * draw / 0.5)
    share = jnp.clip((draw - 0.5) / 0.5, 0, 1)
    power = 1 - EXPONENT
    late = (BREAK**power + share * (1000.0**power - BREAK**power)) ** (1 / power)
    time = jnp.where(draw < 0.5, early, late)
    drop = 3 + jax.random.normal(three, time.shape)
    return time.ravel(), drop.ravel()


def measured(moments):
    """The curves and numbers whose bands are put to the test."""
    parts = decompose(moments, weighting="count")
    by_drop = decompose(moments, weighting="drop")
    tail = fit_tail(moments, lower=21.0, upper=1000.0, least_events=20)
    return {
        "p": parts.spectrum[0].reshape(-1, BINS).mean(1)[1:],
        "p by drop": by_drop.spectrum[0].reshape(-1, BINS).mean(1)[1:],
        "g": parts.pulse[0, PULSE_POINTS],
        "implied": parts.implied[4:-4],
        "convolved": parts.convolved[4:-4],
        "exponent": tail.exponent,
    }


def spectrum_of_draw(key, sequences):
    time, drop = plant(key, sequences)
    number = sequences * EACH
    small = jnp.zeros(number, jnp.uint8)
    block = TokenBlock(
        learning_time=time,
        sharpness=jnp.full(number, GRID.sharpnesses[6]),
        loss_drop=drop,
        final_loss=jnp.ones(number),
        constant=jnp.ones(number),
        status=small,
        category=small + int(Category.LEARNED),
        sequence=jnp.repeat(jnp.arange(sequences, dtype=jnp.uint32), EACH),
        number=jnp.asarray(number),
    )
    return accumulate(Spectrum.empty(GRID), block)


def test_bands_of_90_percent_hold_the_truth_in_90_percent_of_200_seeds():
    truth = measured(spectrum_of_draw(jax.random.key(12345), 2**15).moments())
    truth["exponent"] = EXPONENT

    @jax.jit
    def held(key):
        draw, resample = jax.random.split(key)
        band = bands(measured, spectrum_of_draw(draw, SEQUENCES), resample, replicates=63)
        return jax.tree.map(lambda low, high, true: (low <= true) & (true <= high), band.low, band.high, truth)

    covered = jax.lax.map(held, jax.random.split(jax.random.key(7), SEEDS))
    shares = {name: float(jnp.mean(values)) for name, values in covered.items()}
    assert all(0.85 <= share <= 0.95 for share in shares.values()), shares
