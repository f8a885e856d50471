"""p, g, p * g and the implied curves against sums over every token."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from planted_tokens import LINEAR, LOG, mean_loss, mixed, seen, slope, spectrum_of, tokens
from scipy.special import expit

from tsl_jax import Category
from tsl_jax.spectrum import binning_bound, convolve, decompose, implied_loss

GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])
WEIGHTINGS = pytest.mark.parametrize("weighting", ["count", "drop"])
REAL = st.floats(-10, 10, width=32)


def on_centres(grid, number=200, seed=0):
    """Falling and rising events at the centres of bins, with sharpnesses that stand for bins: nothing is rounded."""
    rng = np.random.default_rng(seed)
    steepness = rng.choice(grid.sharpnesses[:-1], number) * grid.unit
    return tokens(grid, rng.choice(grid.centres, number), steepness, rng.normal(2, 2, number))


@settings(deadline=None, max_examples=30)
@given(st.lists(REAL, min_size=5, max_size=5), st.lists(REAL, min_size=13, max_size=13))
def test_fast_convolution_is_the_direct_sum(spectrum, pulse):
    direct = [sum(spectrum[j] * pulse[6 + i - j] for j in range(5)) for i in range(5)]
    np.testing.assert_allclose(convolve(jnp.array(spectrum), jnp.array(pulse)), direct, atol=1e-3)


@pytest.mark.parametrize("lags", [7, 10], ids=["too few", "even"])
def test_a_pulse_must_span_the_spectrum(lags):
    with pytest.raises(ValueError, match=f"got {lags} lags for a spectrum of 5 bins, expected an odd number"):
        convolve(jnp.zeros(5), jnp.zeros(lags))


def test_a_convolution_has_gradients_in_both_modes():
    rng = np.random.default_rng(0)
    pair = tuple(jnp.asarray(rng.random(number), jnp.float32) for number in (5, 13))
    check_grads(convolve, pair, order=1, modes=("fwd", "rev"), atol=1e-2, rtol=1e-2)
    many = [jnp.stack([one, 2 * one, 3 * one]) for one in pair]
    ours = jax.vmap(jax.grad(lambda p, g: jnp.sum(convolve(p, g) ** 2)))(*many)
    # Σ_i (Σ_j p_j g_(i-j))²: differentiated by hand.
    for p, g, mine in zip(*many, ours, strict=True):
        shifted = np.stack([np.asarray(g)[6 - j : 11 - j] for j in range(5)])
        np.testing.assert_allclose(mine, 2 * shifted @ (np.asarray(p) @ shifted), rtol=1e-4)


@pytest.mark.parametrize(("weighting", "outside"), [("count", "own"), ("drop", "edge")])
def test_a_decomposition_has_gradients_in_both_modes(weighting, outside):
    moments = spectrum_of(LOG, mixed(LOG)).moments()
    rng = np.random.default_rng(0)

    def curves(drop):
        parts = decompose(dataclasses.replace(moments, drop=drop), weighting=weighting, outside=outside)
        return jnp.concatenate([parts.convolved, parts.implied, parts.pulse.ravel()])

    @jax.jit
    def both(move):
        value, moved = jax.jvp(curves, (moments.drop,), (move,))
        return moved, jax.vjp(curves, moments.drop)[1](weights)[0], value

    weights = jnp.asarray(rng.normal(size=jax.eval_shape(curves, moments.drop).shape), jnp.float32)
    move = jnp.asarray(rng.normal(size=moments.drop.shape), jnp.float32)
    moved, gradient, _ = both(move)
    assert float(jnp.vdot(gradient, move)) == pytest.approx(float(jnp.vdot(weights, moved)), rel=1e-3, abs=1e-4)
    assert float(jnp.linalg.norm(gradient)) > 0


@GRIDS
def test_the_implied_derivative_is_the_sum_of_all_pulses(grid):
    planted = on_centres(grid)
    implied = decompose(spectrum_of(grid, planted)).implied
    expected = slope(planted, grid)
    np.testing.assert_allclose(implied, expected, atol=2e-6 * np.abs(expected).max())


@GRIDS
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_binning_stays_within_its_bound(grid, seed):
    planted = mixed(grid, seed=seed)
    moments = spectrum_of(grid, planted).moments()
    bound = binning_bound(moments)
    error = np.abs(np.asarray(decompose(moments).implied) - slope(planted, grid)).sum() * grid.width
    visible = np.abs(np.where(planted.category == Category.LEARNED, planted.drop, seen(planted, grid)))
    assert error <= bound.slope * visible[planted.event].sum() / len(planted)
    at_edges = np.abs(np.asarray(implied_loss(moments, grid.axis(grid.edges))) - mean_loss(planted, grid.edges)).max()
    assert at_edges <= bound.loss
    # The bound is for the worst case; a tenth of it is never reached by hundreds of random tokens.
    assert error <= 0.3 * bound.loss


@GRIDS
def test_the_implied_mean_loss_is_the_mean_of_all_that_counts(grid):
    planted = mixed(grid, number=2000)
    spectrum = spectrum_of(grid, planted)
    u = np.linspace(grid.edges[0], grid.edges[-1], 37)
    np.testing.assert_allclose(implied_loss(spectrum, grid.axis(u)), mean_loss(planted, u), atol=0.02)
    ends = implied_loss(spectrum, [grid.first, grid.last])
    np.testing.assert_allclose(ends, mean_loss(planted, grid.edges[[0, -1]]), rtol=3e-3)
    with pytest.raises(ValueError, match="expected finite axis values"):
        implied_loss(spectrum, [1.0, np.nan])


@pytest.mark.parametrize(
    ("grid", "weighting", "outside"),
    [(LOG, weighting, rule) for weighting in ("count", "drop") for rule in ("own", "edge", "inside")]
    + [(LINEAR, "count", "edge"), (LINEAR, "drop", "inside")],
)
def test_area_is_conserved(grid, weighting, outside):
    planted = mixed(grid)
    parts = decompose(spectrum_of(grid, planted), weighting=weighting, outside=outside)
    total = parts.spectrum.sum(1) * grid.width + parts.edges.sum(1)
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    np.testing.assert_allclose(
        parts.implied.sum() * grid.width, seen(planted, grid)[planted.event].sum() / 300, rtol=4e-3
    )
    inside = planted.event & (planted.category == Category.LEARNED)
    if outside == "inside":
        if weighting == "count":
            expected = [inside.mean()]
        else:
            expected = [(np.maximum(sign * planted.drop, 0) * inside).mean() for sign in (1, -1)]
        np.testing.assert_allclose(parts.weight, expected, rtol=1e-5)


@WEIGHTINGS
def test_the_area_of_the_pulse_is_the_mean_drop(weighting):
    planted = dataclasses.replace(on_centres(LOG), sharpness=np.full(200, LOG.sharpnesses[-4]))
    parts = decompose(spectrum_of(LOG, planted), weighting=weighting)
    expected = [planted.drop.mean()] if weighting == "count" else [1, -1]
    np.testing.assert_allclose(parts.pulse.sum(1) * LOG.width, expected, rtol=1e-5)
    np.testing.assert_allclose(parts.convolved.sum() * LOG.width, seen(planted, LOG).mean(), rtol=0.05)


@GRIDS
@WEIGHTINGS
def test_p_and_g_and_their_convolution_against_direct_sums(grid, weighting):
    planted = on_centres(grid)
    parts = decompose(spectrum_of(grid, planted), weighting=weighting, outside="inside")
    sign = np.sign(planted.drop)
    groups = [np.ones(200, bool)] if weighting == "count" else [sign > 0, sign < 0]
    expected = np.zeros(grid.time_bins)
    for part, rows in enumerate(groups):
        masses = np.ones(200) if weighting == "count" else np.abs(planted.drop)
        p = np.histogram(planted.u[rows], grid.edges, weights=masses[rows])[0]
        edges = np.append(grid.lags - grid.width / 2, grid.lags[-1] + grid.width / 2)
        rise = np.diff(expit(planted.sharpness[rows, None] * edges), axis=1)
        g = (planted.drop[rows, None] * rise).sum(0) / p.sum()
        np.testing.assert_allclose(parts.spectrum[part], p / p.sum() / grid.width, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            parts.pulse[part], g / grid.width, rtol=1e-4, atol=1e-5 * np.abs(g).max() / grid.width
        )
        for i in range(grid.time_bins):
            for j in range(grid.time_bins):
                expected[i] += p[j] * g[grid.time_bins + i - j] / 200 / grid.width
    np.testing.assert_allclose(parts.convolved, expected, atol=1e-5 * np.abs(expected).max())


@GRIDS
@WEIGHTINGS
def test_tokens_that_do_share_a_pulse_are_reconstructed(grid, weighting):
    steepness = grid.sharpnesses[9] * grid.unit
    planted = tokens(grid, np.random.default_rng(0).choice(grid.centres, 100), steepness, 2.5)
    parts = decompose(spectrum_of(grid, planted), weighting=weighting)
    np.testing.assert_allclose(parts.convolved, parts.implied, atol=1e-5 * float(parts.implied.max()))


@WEIGHTINGS
@pytest.mark.parametrize("side", [-0.03, 1.03], ids=["early", "late"])
def test_rules_for_events_outside_the_window(weighting, side):
    planted = tokens(LOG, LOG.origin + LOG.unit * np.array([side] * 20), 40.0, 5.0)
    spectrum = spectrum_of(LOG, planted)
    part = {rule: decompose(spectrum, weighting=weighting, outside=rule) for rule in ("own", "edge", "inside")}
    visible = seen(planted, LOG).mean()
    assert 0.5 < visible < 2
    own, edge, inside = (part[rule].convolved.sum() * LOG.width for rule in ("own", "edge", "inside"))
    np.testing.assert_allclose(own, visible, rtol=1e-5)
    np.testing.assert_allclose(part["own"].convolved, part["own"].implied, rtol=1e-5)
    np.testing.assert_allclose(edge, visible, rtol=1e-2)
    np.testing.assert_allclose(inside, 0, atol=1e-6)
    assert float(part["own"].weight.sum()) == float(part["inside"].weight.sum()) == 0
    which = 0 if side < 0 else 1
    np.testing.assert_allclose(part["edge"].edges[0, which], 1, rtol=1e-6)


def test_log_and_linear_coordinates_differ_by_the_jacobian():
    # Steps are the same curves in both coordinates; between two axis values that are edges of both grids the same part
    # of the spectrum and of the fall must lie.
    time = np.exp(np.random.default_rng(0).uniform(np.log(100), np.log(1000), 400))
    share = {}
    for grid in (
        dataclasses.replace(LOG, first=100.0, time_bins=90),
        dataclasses.replace(LINEAR, first=100.0, time_bins=90),
    ):
        planted = dataclasses.replace(tokens(grid, grid.coordinate(time)), sharpness=np.full(400, np.inf))
        parts = decompose(spectrum_of(grid, planted))
        axis_edges = grid.axis(grid.edges)
        for name, curve in (("p", parts.spectrum[0]), ("slope", parts.implied)):
            per_axis = np.asarray(parts.over_axis(curve))
            falls = per_axis * np.diff(axis_edges)
            cumulative = np.append(0, np.cumsum(falls))
            share[grid.scale, name] = np.interp([200, 400, 800, 1000], axis_edges, cumulative)
        np.testing.assert_allclose(parts.axis, grid.axis(parts.u))
    for name, total in (("p", 1.0), ("slope", 3.0)):
        np.testing.assert_allclose(share["log", name], share["linear", name], atol=0.01 * total)
        np.testing.assert_allclose(share["log", name][-1], total, rtol=1e-3)


def test_unknown_rules_raise():
    spectrum = spectrum_of(LOG, tokens(LOG, [3.0]))
    with pytest.raises(ValueError, match="weighting: got 'mass', expected 'drop' or 'count'"):
        decompose(spectrum, weighting="mass")
    with pytest.raises(ValueError, match="outside: got 'all', expected 'edge', 'own' or 'inside'"):
        decompose(spectrum, outside="all")


def test_one_token():
    planted = tokens(LOG, [LOG.centres[20]], LOG.sharpnesses[10] * LOG.unit, -2.0)
    parts = decompose(spectrum_of(LOG, planted), weighting="drop")
    np.testing.assert_allclose(parts.implied, slope(planted, LOG), atol=1e-5)
    np.testing.assert_allclose(parts.weight, [0, 2])
    assert not np.any(parts.spectrum[0])
