"""Tails with planted laws: exponents, errors, cuts, goodness of fit and rivals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted_tokens import LINEAR, LOG, spectrum_of, tokens
from scipy.optimize import minimize, minimize_scalar

from tsl_jax.spectrum import Spectrum, SpectrumGrid, binning_bound, fit_tail, tail_goodness, tail_rivals
from tsl_jax.spectrum.on_host import known_moments
from tsl_jax.spectrum.tail.fit import default_cuts
from tsl_jax.spectrum.tail.many import tails_of_rows
from tsl_jax.spectrum.tail.masses import tail_masses
from tsl_jax.spectrum.tail.quality import known_draws, known_goodness_of, poisson

GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])
STEEP = 200.0


def power_law(exponent, lower, upper, number, seed=0):
    """Axis values from ``p(a) ∝ a^-exponent`` between two values; its quantiles without a seed."""
    share = (np.arange(number) + 0.5) / number if seed is None else np.random.default_rng(seed).random(number)
    if exponent == 1:
        return lower * (upper / lower) ** share
    ends = np.array([lower, upper]) ** (1 - exponent)
    return (ends[0] + share * (ends[1] - ends[0])) ** (1 / (1 - exponent))


def at(grid, time, drop=3.0, sharpness=STEEP):
    return spectrum_of(grid, tokens(grid, grid.coordinate(time), sharpness, drop), block=2048)


@GRIDS
@pytest.mark.parametrize("exponent", [1.0, 1.2, 2.0, 3.5])
def test_planted_exponents_come_back_within_their_errors(grid, exponent):
    time = power_law(exponent, 200, 1000, 2000)
    tail = fit_tail(at(grid, time), lower=200, upper=1000)
    assert abs(float(tail.exponent) - exponent) < 4 * float(tail.stderr)
    assert 0.02 < float(tail.stderr) < 0.1
    assert 200 <= float(tail.lower) < 1.2 * 200  # whole bins inside the cuts
    assert float(tail.events) == pytest.approx(np.sum(time > float(tail.lower)), abs=1)
    assert float(tail.mass) == pytest.approx(float(tail.events) / 2000)


@GRIDS
def test_the_estimate_is_that_of_maximum_likelihood_on_the_bins(grid):
    spectrum = at(grid, power_law(2.2, 200, 1000, 2000))
    tail = fit_tail(spectrum, lower=200, upper=1000)
    edges = grid.axis(grid.edges)
    edges = edges[(edges >= 0.999 * float(tail.lower)) & (edges <= 1.001 * float(tail.upper))]
    first = np.argmin(np.abs(grid.axis(grid.edges) - edges[0]))
    counts = np.asarray(spectrum.moments().count[0, grid.inside].sum(1))[first : first + len(edges) - 1]

    def loss(exponent):
        mass = np.abs(np.diff(edges ** (1 - exponent)))
        return -np.sum(counts * np.log(mass / mass.sum()))

    best = minimize_scalar(loss, bounds=(1.5, 3.5), method="bounded", options={"xatol": 1e-7})
    curvature = (loss(best.x + 0.01) - 2 * best.fun + loss(best.x - 0.01)) / 0.01**2
    assert abs(float(tail.exponent) - best.x) < 0.05 * float(tail.stderr)
    assert float(tail.stderr) == pytest.approx(curvature**-0.5, rel=0.01)


def test_the_lower_cut_is_where_the_law_begins():
    time = np.concatenate([power_law(1.0, 2, 40, 3000), power_law(3.0, 40, 1000, 2000, seed=1)])
    tail = fit_tail(at(LOG, time), upper=1000)
    assert 33 < float(tail.lower) < 60
    assert abs(float(tail.exponent) - 3) < 4 * float(tail.stderr)
    assert float(tail.distance) < 0.03
    assert float(tail.fraction) == pytest.approx(0.4, abs=0.1)


@GRIDS
def test_the_upper_cut_is_where_most_of_a_pulse_is_seen(grid):
    for sharpness, seen in ((12.0, 0.9), (12.0, 0.7), (40.0, 0.95)):
        tail = fit_tail(at(grid, power_law(1.5, 150, 1000, 1000), sharpness=sharpness), lower=150, seen=seen)
        expected = grid.edges[-1] - grid.unit * np.log(seen / (1 - seen)) / sharpness
        assert abs(grid.coordinate(float(tail.upper)) - expected) <= 1.5 * grid.width


def test_weighting_by_drop():
    time = power_law(2.0, 20, 1000, 2000)
    equal = at(LOG, time)
    by_count, by_drop = (fit_tail(equal, lower=20, upper=1000, weighting=name) for name in ("count", "drop"))
    np.testing.assert_allclose(by_drop.exponent, by_count.exponent, rtol=1e-4)
    np.testing.assert_allclose(by_drop.stderr, by_count.stderr, rtol=1e-3)
    np.testing.assert_allclose(by_drop.mass, 3 * by_count.mass, rtol=1e-4)
    # Drops that shrink as 1/a make the tail of drops one power steeper.
    shrinking = fit_tail(at(LOG, time, drop=60 / time), lower=20, upper=1000, weighting="drop")
    assert abs(float(shrinking.exponent) - 3) < 4 * float(shrinking.stderr)
    assert float(shrinking.events) < 1500
    # Rising losses are no part of it.
    both = np.concatenate([time, np.full(500, 900.0)])
    mixed = at(LOG, both, drop=np.append(np.full(2000, 3.0), np.full(500, -3.0)))
    np.testing.assert_allclose(fit_tail(mixed, lower=20, upper=1000).exponent, by_count.exponent, rtol=1e-5)


def lognormal(number, seed=0):
    u = np.random.default_rng(seed).normal(np.log(40), 0.8, 3 * number)
    return np.exp(u[(u > np.log(20)) & (u < np.log(1000))][:number])


def exponential(number, seed=0):
    time = 20 + np.random.default_rng(seed).exponential(150, 3 * number)
    return time[time < 1000][:number]


def test_laws_are_told_apart():
    spectra = {name: at(LOG, time) for name, time in LAWS.items()}
    tails = {name: fit_tail(spectrum, lower=20, upper=1000) for name, spectrum in spectra.items()}
    rivals = {name: tail_rivals(spectra[name], tails[name]) for name in spectra}
    power = rivals["power law"]
    assert float(power["lognormal"].p) > 0.01
    assert float(power["exponential"].z) > 5
    assert float(power["exponential"].p) < 1e-6
    assert float(rivals["lognormal"]["lognormal"].p) < 1e-6
    assert float(rivals["lognormal"]["lognormal"].log_ratio) < -20
    assert float(rivals["exponential"]["exponential"].z) < -5
    assert float(rivals["exponential"]["exponential"].p) < 1e-6


LAWS = {"power law": power_law(2.0, 20, 1000, 2000), "lognormal": lognormal(2000), "exponential": exponential(2000)}


def test_log_likelihood_ratios_against_scipy():
    spectrum = at(LOG, LAWS["exponential"])
    tail = fit_tail(spectrum, lower=20, upper=1000)
    counts = np.asarray(spectrum.moments().count[0, LOG.inside].sum(1))
    inside = (LOG.axis(LOG.centres) > float(tail.lower)) & (LOG.axis(LOG.centres) < float(tail.upper))
    counts, time = counts[inside], LOG.axis(LOG.centres)[inside]

    def log_likelihood(log_density):  # over ln(a), at the centres of bins of equal width
        return np.sum(counts * (log_density - np.log(np.sum(np.exp(log_density)))))

    def best(law, bounds):
        return -minimize_scalar(lambda theta: -log_likelihood(law(theta)), bounds=bounds, method="bounded").fun

    power = best(lambda exponent: (1 - exponent) * np.log(time), (0, 5))
    rival = best(lambda rate: np.log(time) - rate * time, (0, 0.1))
    ratio = float(tail_rivals(spectrum, tail)["exponential"].log_ratio)
    assert ratio == pytest.approx(power - rival, rel=1e-3)


def test_ratios_of_many_events_are_no_rounding():
    """A power law with millions of events: the lognormal law that bends most gains a nat or so, 1e-8 of the sum."""
    grid = SpectrumGrid(1.0, 1e5, time_bins=512, sharpness_bins=2, outside_bins=1, resamples=2)
    moments, u = Spectrum.empty(grid).moments(), grid.centres - grid.edges[-1]
    errors = []
    for seed in range(4):
        counts = np.zeros_like(moments.count)
        counts[0, grid.inside, 1] = np.random.default_rng(seed).poisson(100 * np.exp(-u))
        noisy = dataclasses.replace(moments, count=jnp.asarray(counts))
        tail = fit_tail(noisy, lower=30, upper=1e4)
        inside = (grid.axis(grid.centres) > float(tail.lower)) & (grid.axis(grid.centres) < float(tail.upper))
        share = counts[0, grid.inside, 1][inside].astype(float)
        number, statistics = share.sum(), np.stack([u[inside], u[inside] ** 2])

        def loss(theta, share=share / number, statistics=statistics):
            log_p = theta @ statistics[: len(theta)]
            return -np.sum(share * (log_p - np.log(np.sum(np.exp(log_p)))))

        one, two = (minimize(loss, start, options={"gtol": 1e-10}) for start in ([-1.0], [-1.0, 0.0]))
        expected = number * (two.fun - one.fun) if two.x[1] < 0 else 0
        errors.append((float(tail_rivals(noisy, tail)["lognormal"].log_ratio) - expected) / number)
    assert np.max(np.abs(errors)) < 3e-9


def test_goodness_of_fit():
    options = {"lower": 20, "upper": 1000, "replicates": 100}
    good = [
        float(tail_goodness(at(LOG, power_law(2.0, 20, 1000, 2000, s)), jax.random.key(s), **options)) for s in range(5)
    ]
    assert max(good) > 0.3
    assert sum(p < 0.1 for p in good) <= 2
    assert float(tail_goodness(at(LOG, LAWS["lognormal"]), jax.random.key(0), **options)) == 0


def draws_of_the_program(key, expected, replicates):
    """As `goodness_of` draws."""
    keys = jax.random.split(key, replicates)
    return np.asarray(jax.lax.map(lambda key: poisson(key, np.float32(expected)), keys))


def test_draws_that_are_known_are_poisson_and_go_by_the_key():
    expected = np.array([0.0, 0.3, 4.0, 1000.0, 3e6])
    drawn = known_draws(jax.random.key(3), expected, 4000)
    np.testing.assert_array_equal(drawn, known_draws(jax.random.key(3), expected, 4000))
    assert (drawn != known_draws(jax.random.key(4), expected, 4000)).any()
    assert (drawn[:, 0] == 0).all()
    error = np.sqrt(expected[1:] / 4000)
    assert (np.abs(drawn[:, 1:].mean(0) - expected[1:]) < 4 * error).all()
    np.testing.assert_allclose(drawn[:, 1:].var(0) / expected[1:], 1, atol=0.12)


def test_the_goodness_of_known_moments_goes_by_its_own_draws_as_by_those_of_the_program():
    """Of laws that the data follow: each p is uniform, so that both means are near a half."""
    cuts, own, programs = jax.tree.map(np.asarray, default_cuts(LOG)), [], []
    for seed in range(24):
        moments = known_moments(at(LOG, power_law(2.0, 20, 1000, 2000, seed)))
        tail = jax.tree.map(np.asarray, fit_tail(moments))
        for found, drawn in ((own, None), (programs, draws_of_the_program)):
            found.append(float(known_goodness_of(moments, tail, jax.random.key(seed), cuts, 40, drawn)))
    # The same data: they differ by the draws of 40 replicates alone.
    assert abs(np.mean(own) - np.mean(programs)) < 4 * np.sqrt(2 * 0.25 / 40 / 24)


def test_known_moments_have_the_tail_and_checks_of_programs():
    spectrum, key = at(LOG, power_law(2.0, 20, 1000, 2000, 0)), jax.random.key(0)
    tail, moments = fit_tail(spectrum), known_moments(spectrum)
    cuts = jax.tree.map(np.asarray, default_cuts(LOG))
    masses, per_mass, stop, per_token = tail_masses(moments, cuts)
    found = tails_of_rows(LOG, masses, per_mass, np.repeat(stop, 2), cuts)
    for name in ("exponent", "stderr", "lower", "upper", "events", "fraction"):
        np.testing.assert_allclose(getattr(found, name)[0], getattr(tail, name), rtol=1e-4, err_msg=name)
    assert found.mass[0] * per_token == pytest.approx(float(tail.mass), rel=1e-5)
    known = jax.tree.map(np.asarray, tail)
    rivals = tail_rivals(spectrum, tail)
    for name, rival in tail_rivals(moments, known).items():
        np.testing.assert_allclose(rival.z, rivals[name].z, rtol=0.02, atol=1e-3)
        np.testing.assert_allclose(rival.p, rivals[name].p, rtol=0.02, atol=1e-3)
    goodness = known_goodness_of(moments, known, key, cuts, 20, draws_of_the_program)
    assert float(goodness) == pytest.approx(float(tail_goodness(spectrum, key, replicates=20)), abs=0.051)
    for got, want in zip(
        jax.tree.leaves(binning_bound(moments)), jax.tree.leaves(binning_bound(spectrum)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_without_enough_events_there_is_no_tail():
    few = at(LOG, power_law(2.0, 25, 1000, 30))
    tail = fit_tail(few, lower=20, upper=1000)
    assert np.isnan([tail.exponent, tail.stderr, tail.lower, tail.mass]).all()
    assert float(tail.events) == 30
    assert np.isnan(tail_rivals(few, tail)["lognormal"].z)
    assert np.isnan(tail_goodness(few, jax.random.key(0), lower=20, upper=1000, replicates=10))
    assert np.isnan(fit_tail(Spectrum.empty(LOG)).exponent)
    assert np.isfinite(fit_tail(few, lower=20, upper=1000, least_events=20).exponent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lower": 0.0}, r"lower: got 0\.0, expected a positive axis value"),
        ({"lower": 500.0, "upper": 100.0}, "which leave fewer than 2 of the spectrum's bins"),
        ({"upper": 0.5}, "which leave fewer than 2 of the spectrum's bins"),
        ({"weighting": "mass"}, "weighting: got 'mass'"),
        ({"seen": 1.0}, r"seen: got 1\.0"),
    ],
)
def test_cuts_that_make_no_sense_raise(options, message):
    with pytest.raises(ValueError, match=message):
        fit_tail(Spectrum.empty(LOG), **options)
