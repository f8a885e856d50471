"""Tokens to the sufficient statistic: every token once, exact, whatever the order and the blocks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_tokens import BLOCK, LINEAR, LOG, curves, mixed, seen, spectrum_of, tokens

from tests.tolerances import FORMULA
from tsl_jax import Category, Fit, Hyperbola, Sigmoid, Status
from tsl_jax.spectrum import (
    MOST_ITEMS,
    Exact,
    Kind,
    Spectrum,
    SpectrumGrid,
    accumulate,
    accumulate_rows,
    decompose,
    grid_over,
    resample_of,
    token_block,
)

GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@GRIDS
def test_order_blocks_padding_and_merging_change_no_bit(grid):
    planted = mixed(grid)
    whole = spectrum_of(grid, planted)
    assert sum(whole.tokens.values()) == len(planted)
    shuffled = planted[np.random.default_rng(1).permutation(len(planted))]
    assert same(whole, spectrum_of(grid, shuffled))
    assert same(whole, spectrum_of(grid, planted[:111]) + spectrum_of(grid, planted[111:]))
    assert same(whole, spectrum_of(grid, planted, block=64))
    assert same(whole, accumulate_rows(Spectrum.empty(grid), planted.rows(grid)))


@GRIDS
def test_counts_are_a_two_dimensional_histogram(grid):
    planted = tokens(grid, grid.origin + grid.unit * np.random.default_rng(0).random(300), 20.0)
    planted = dataclasses.replace(planted, sharpness=np.random.default_rng(1).lognormal(3, 1.5, 300) / grid.unit)
    counts = spectrum_of(grid, planted).moments().count
    edges = grid.sharpness_edges.copy()
    edges[0], edges[-1] = 0, np.inf
    expected, *_ = np.histogram2d(planted.u, planted.sharpness, bins=(grid.edges, edges))
    # float32 may put an event that lies on an edge into the next bin
    assert np.abs(np.asarray(counts[0, grid.inside]) - expected).sum() <= 2
    assert counts[1].sum() == 0


@GRIDS
def test_sums_against_every_token_on_its_own(grid):
    planted = mixed(grid)
    moments = spectrum_of(grid, planted).moments()
    event = planted.event
    inside = planted.category == Category.LEARNED
    drops = np.where(inside, planted.drop, seen(planted, grid)) * event
    for sign, rows in enumerate((drops > 0, drops < 0)):
        np.testing.assert_allclose(moments.drop[sign].sum(), np.abs(drops[rows]).sum(), rtol=1e-5)
        np.testing.assert_allclose(moments.square[sign].sum(), np.square(drops[rows]).sum(), rtol=1e-3)
    np.testing.assert_allclose(moments.level, curves(planted, [grid.edges[-1]]).sum(), rtol=1e-5)
    assert float(moments.tokens) == len(planted)
    early, late = (planted.category == name for name in (Category.EARLY, Category.LATE))
    by_count, by_drop = moments.outside_fractions
    np.testing.assert_allclose(by_count, [np.mean(rows[event]) for rows in (early, late)], rtol=1e-5)
    visible = np.abs(drops)
    np.testing.assert_allclose(by_drop, [visible[rows].sum() / visible.sum() for rows in (early, late)], rtol=1e-4)
    logs = np.log(grid.sharpnesses[:-1])
    between = event & inside & (np.log(planted.sharpness) > logs[0]) & (np.log(planted.sharpness) < logs[-1])
    mean = np.average(np.log(planted.sharpness[between]), weights=np.abs(drops[between]))
    only = spectrum_of(grid, planted[between]).moments().drop.sum((0, 1))[:-1]
    np.testing.assert_allclose(np.average(logs, weights=only), mean, rtol=1e-5)


@GRIDS
def test_where_events_outside_the_window_are_counted(grid):
    distance = np.sqrt(grid.distance_edges[1:-1] * grid.distance_edges[2:])  # one event in every bin but the nearest
    early = spectrum_of(grid, tokens(grid, grid.edges[0] - distance, 3.0)).moments().count[0].sum(1)
    late = spectrum_of(grid, tokens(grid, grid.edges[-1] + distance, 3.0)).moments().count[0].sum(1)
    number = grid.outside_bins
    assert early[:number].tolist() == [1] * (number - 1) + [0]
    assert late[-number:].tolist() == [0] + [1] * (number - 1)
    assert early[number:].sum() == late[:-number].sum() == 0


def test_counts_go_on_exactly_beyond_32_bits():
    one = spectrum_of(LOG, tokens(LOG, [3.0]))
    many = jax.tree.map(lambda part: Exact(part.low * jnp.uint32(2**32 - 1), part.high), one, is_leaf=_is_exact)
    assert many.tokens["LEARNED"] == 2**32 - 1
    assert (many + one).tokens["LEARNED"] == 2**32
    assert (many + many).tokens["LEARNED"] == 2**33 - 2
    more = accumulate(many, token_block(tokens(LOG, [3.0]).rows(LOG), BLOCK))
    assert more.tokens["LEARNED"] == 2**32
    np.testing.assert_allclose(more.moments().count.sum(), 2**32, rtol=1e-7)


def _is_exact(node):
    return isinstance(node, Exact)


def test_the_largest_block_of_equal_tokens_is_exact():
    # All in one cell of the last sharpness, with a drop whose units fill all bits.
    drop = np.float32(255 - 2**-16)
    planted = tokens(LOG, np.full(MOST_ITEMS, 3.0), np.inf, drop, sequence=np.zeros(MOST_ITEMS, int))
    moments = spectrum_of(LOG, planted, block=MOST_ITEMS).moments()
    np.testing.assert_allclose(moments.drop.sum(), float(drop) * MOST_ITEMS, rtol=1e-6)
    assert float(moments.count[0, :, -1].sum()) == MOST_ITEMS


def test_whole_sequences_are_resampled_together():
    planted = tokens(LOG, np.linspace(1, 6, 40), sequence=np.repeat([5, 2**40 + 1, 7, 9], 10))
    by_group = spectrum_of(LOG, planted).moments_by_resample().count.sum((1, 2, 3))
    groups = resample_of(np.array([5, (2**40 + 1) ^ 2**8, 7, 9]), LOG.resamples)
    expected = np.bincount(groups, minlength=LOG.resamples) * 10
    assert by_group.tolist() == expected.tolist()
    spread = np.bincount(resample_of(np.arange(7000), 7), minlength=7)
    assert spread.min() > 900
    assert spread.max() < 1100


ANY = st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=32), st.sampled_from([0.0, 1.0, 30.0, 1e30]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(ANY, ANY, ANY, ANY, ANY, st.sampled_from(list(Status)), st.sampled_from(list(Category))),
        min_size=4,
        max_size=4,
    )
)
def test_whatever_the_fits_every_token_is_counted_and_no_curve_is_nan(rows):
    *real, status, category = (np.array(column) for column in zip(*rows, strict=True))
    real = [column.astype(np.float32) for column in real]
    block = token_block(
        (*real, status.astype(np.uint8), category.astype(np.uint8), np.arange(4, dtype=np.uint32)), BLOCK
    )
    spectrum = accumulate(Spectrum.empty(LOG), block)
    assert sum(spectrum.tokens.values()) == 4
    moments = spectrum.moments()
    parts = decompose(moments, weighting="drop")
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves((moments, parts)))
    assert float(moments.count.sum()) == sum(spectrum.tokens[kind] for kind in ("LEARNED", "EARLY", "LATE"))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "LEARNED"),
        ({"sharpness": np.inf}, "LEARNED"),
        ({"sharpness": np.nan}, "UNUSABLE"),
        ({"sharpness": 0.0}, "UNUSABLE"),
        ({"drop": np.inf}, "UNUSABLE"),
        ({"drop": 1e4}, "UNUSABLE"),
        ({"u": 20.0}, "UNUSABLE"),  # LEARNED by its category, beyond the window by its time: another axis
        ({"u": 20.0, "category": Category.LATE}, "LATE"),
        ({"category": Category.EARLY}, "LEARNED"),  # so wide an error that EARLY is likeliest: the best place counts
        ({"status": Status.AT_BOUND}, "LEARNED"),
        ({"category": Category.UNLEARNED}, "UNLEARNED"),
        ({"status": Status.FLAT, "category": Category.NONE}, "CONSTANT"),
        ({"status": Status.FLAT, "category": Category.NONE, "constant": np.nan}, "NO_DATA"),
        ({"status": Status.PENDING, "category": Category.NONE, "constant": np.nan}, "PENDING"),
    ],
)
def test_what_is_unusual_is_counted_apart(change, kind):
    planted = tokens(LOG, [3.0])
    planted = dataclasses.replace(planted, **{name: np.array([value]) for name, value in change.items()})
    assert spectrum_of(LOG, planted).tokens == {name.name: int(name.name == kind) for name in Kind}
    assert Kind[kind].meaning


def test_infinitely_steep_events_are_steps():
    planted = dataclasses.replace(tokens(LOG, [3.0, 4.0]), sharpness=np.array([np.inf, np.inf]))
    parts = decompose(spectrum_of(LOG, planted))
    bins = np.floor((np.array([3.0, 4.0]) - LOG.origin) / LOG.width).astype(int)
    expected = np.zeros(LOG.time_bins)
    expected[bins] = 1.5 / LOG.width
    np.testing.assert_allclose(parts.implied, expected, atol=1e-4)


@pytest.mark.parametrize(
    "planted",
    [
        tokens(LOG, []),
        tokens(LOG, [1.0, 2.0, 3.0], category=Category.UNLEARNED),
        dataclasses.replace(tokens(LOG, [3.0]), status=np.array([Status.FLAT]), constant=np.array([np.nan])),
    ],
    ids=["no tokens", "all unlearned", "no data"],
)
def test_without_events_all_curves_are_zero(planted):
    spectrum = spectrum_of(LOG, planted) if len(planted) else Spectrum.empty(LOG)
    parts = decompose(spectrum)
    for curve in (parts.spectrum, parts.pulse, parts.convolved, parts.implied, parts.weight):
        assert not np.any(curve)
    assert sum(spectrum.tokens.values()) == len(planted)


def fit_of(planted, grid, shape):
    params = {name: jnp.asarray(values).reshape(shape) for name, values in planted.params(grid).items()}
    nothing = jnp.zeros(shape)
    return Fit(
        params=params,
        stderr=params,
        rss=nothing,
        r2=nothing,
        num_points=nothing,
        status=jnp.asarray(planted.status).reshape(shape),
        category=jnp.asarray(planted.category).reshape(shape),
        constant=jnp.asarray(planted.constant, jnp.float32).reshape(shape),
        noise_correlation=nothing,
        effective_points=nothing,
        probabilities={},
        second_event=None,
        family=Sigmoid(scale=grid.scale),
    )


@GRIDS
def test_from_fits_of_any_shape(grid):
    planted = mixed(grid)
    time = [grid.first, 0.5 * (grid.first + grid.last), grid.last]
    fit = fit_of(planted, grid, (15, 20))
    spectrum = Spectrum.from_fits(fit, time, planted.sequence.reshape(15, 20), grid=grid)
    assert same(spectrum, spectrum_of(grid, planted))
    np.testing.assert_allclose(
        spectrum.moments().level / 300, np.mean(fit.predict(jnp.array([grid.last]))), rtol=FORMULA.float32 * 10
    )
    alone = Spectrum.from_fits(fit, time, grid=grid)
    assert same(alone, spectrum_of(grid, dataclasses.replace(planted, sequence=np.arange(300))))
    assert Spectrum.from_fits(jax.tree.map(lambda a: a[:0], fit), time, grid=grid).tokens["LEARNED"] == 0


def test_what_is_known_to_be_wrong_raises():
    fit = fit_of(mixed(LOG, 20), LOG, (20,))
    time = [1.0, 30.0, 1000.0]
    with pytest.raises(TypeError, match="got family 'hyperbola'"):
        Spectrum.from_fits(dataclasses.replace(fit, family=Hyperbola()), time)
    with pytest.raises(ValueError, match="got scale 'linear', expected that of the fits, 'log'"):
        Spectrum.from_fits(fit, time, grid=LINEAR)
    with pytest.raises(ValueError, match=r"sequence: got shape \(19,\), expected \(20,\)"):
        Spectrum.from_fits(fit, time, np.arange(19), grid=LOG)
    with pytest.raises(ValueError, match="axis: expected increasing"):
        Spectrum.from_fits(fit, time[::-1])
    with pytest.raises(ValueError, match="different bins"):
        Spectrum.empty(LOG) + Spectrum.empty(LINEAR)
    with pytest.raises(ValueError, match="length: got 10 for 20 tokens"):
        token_block(mixed(LOG, 20).rows(LOG), 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 0.0}, "first: got 0.0, expected a positive value on a log scale"),
        ({"first": 2000.0}, "expected finite first < last"),
        ({"last": np.nan}, "expected finite first < last"),
        ({"scale": "sqrt"}, "scale: got 'sqrt'"),
        ({"time_bins": 3}, "time_bins: got 3, expected 4 to"),
        ({"resamples": 1}, "resamples: got 1"),
        ({"time_bins": 2**16, "resamples": 2**12}, r"expected fewer than 2\^31; take fewer bins or resamples"),
    ],
)
def test_grids_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LOG, **change)
    with pytest.raises(TypeError, match=r"time_bins: got 8\.5, expected a whole number"):
        dataclasses.replace(LOG, time_bins=8.5)


def test_grids_over_checkpoints():
    assert grid_over([0, 1, 10, 100], "log", time_bins=8) == SpectrumGrid(1.0, 100.0, "log", time_bins=8)
    assert grid_over(np.array([0, 1, 10]), "linear") == SpectrumGrid(0.0, 10.0, "linear")
    with pytest.raises(ValueError, match="got 1 usable checkpoints"):
        grid_over([0, 5], "log")
    np.testing.assert_allclose(LOG.edges[[0, -1]], [0, np.log(1000)], rtol=1e-12)
    np.testing.assert_allclose(LOG.axis(LOG.centres) * LOG.jacobian(LOG.centres), 1)
    np.testing.assert_allclose(LINEAR.jacobian(LINEAR.centres), 1)
