"""No curve knows of another: shapes, blocks, order, padding, bad neighbours; and what every fit obeys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fitting.planted import (
    AXIS,
    CHECKPOINTS,
    CURVES,
    ONE_START,
    assert_same_minimum,
    fitter,
    noisy,
    same_bits,
)
from tsl_jax import Category, FitOptions, Sigmoid, Status, fit
from tsl_jax.fitting import curve_counts, has_parameters, tile_size
from tsl_jax.fitting.block_fit import default_block_size

pytestmark = pytest.mark.usefixtures("each_kernel")


def check_consistent(found, losses):
    """What holds for every fit of any losses."""
    shape = losses.shape[:-1]
    for leaf in jax.tree.leaves(found):
        assert leaf.shape == shape
    assert tuple(found.params) == tuple(found.stderr)
    assert sorted(found.params) == sorted(found.family.names)
    assert found.num_points.dtype == np.int32
    assert found.status.dtype == found.category.dtype == np.uint8
    assert {leaf.dtype for leaf in (*found.params.values(), *found.stderr.values(), found.rss, found.r2)} == {
        np.dtype(np.float32)
    }
    assert np.all(np.isin(found.status, [0, 1, 2, 3, 4, 5]))
    has = has_parameters(found.status)
    for values in (*found.params.values(), found.rss, found.r2):
        np.testing.assert_array_equal(np.isfinite(values), has)
    for name, error in found.stderr.items():
        assert np.all(np.isnan(error[~has])), name
        assert not np.any(error < 0), name
    np.testing.assert_array_equal(found.category == Category.NONE, ~has)
    assert np.all(found.num_points <= CHECKPOINTS)
    assert np.all(found.num_points[has] >= len(found.family.names) + 1)
    assert np.all(found.rss[has] >= 0)
    predicted = np.asarray(found.predict(AXIS))
    assert predicted.shape == losses.shape
    np.testing.assert_array_equal(np.isfinite(predicted).all(axis=-1), np.isfinite(found.constant))
    assert np.all(
        np.isfinite(found.constant[found.status != Status.NON_FINITE]) == (found.num_points > 0)[found.status != 4]
    )
    assert np.all(curve_counts(found.status, found.category) <= has)


@st.composite
def any_losses(draw):
    """(CURVES, CHECKPOINTS) planted curves, noise, constants, huge and tiny, with gaps and infinities."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    losses = noisy(seed=draw(st.integers(0, 10**6)), noise=draw(st.sampled_from([0.0, 0.05, 1.0])))
    for k in range(CURVES):
        kind = draw(st.sampled_from(["planted", "planted", "noise", "constant", "scaled", "one spike", "steps"]))
        if kind == "noise":
            losses[k] = rng.standard_normal(CHECKPOINTS) * draw(st.sampled_from([1e-3, 1.0, 1e3]))
        elif kind == "constant":
            losses[k] = draw(st.sampled_from([0.0, 2.5, -1.0, 1e-30, 60000.0]))
        elif kind == "scaled":
            losses[k] *= np.float32(10.0 ** draw(st.integers(-12, 38)))
        elif kind == "one spike":
            losses[k], losses[k, draw(st.integers(0, CHECKPOINTS - 1))] = (
                3.0,
                draw(st.sampled_from([0.0, 9.0, 1e4])),
            )
        elif kind == "steps":
            losses[k] = np.where(np.arange(CHECKPOINTS) < draw(st.integers(0, CHECKPOINTS)), 5.0, 1.0)
        losses[k, rng.random(CHECKPOINTS) < draw(st.sampled_from([0.0, 0.0, 0.3, 0.8, 1.0]))] = np.nan
        if draw(st.integers(0, 9)) == 0:
            losses[k, draw(st.integers(0, CHECKPOINTS - 1))] = draw(st.sampled_from([np.inf, -np.inf]))
    return losses


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@settings(max_examples=60, deadline=None)
@given(any_losses())
def test_any_losses_give_a_consistent_fit(losses):
    found = fitter()(losses)
    check_consistent(found, losses)
    finite = np.sum(np.isfinite(losses), axis=1)
    poisoned = np.isinf(losses).any(axis=1)
    assert np.all(found.status[poisoned] == Status.NON_FINITE)
    assert np.all(found.status[(finite <= 4) & ~poisoned] == Status.TOO_FEW_POINTS)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([(16,), (2, 8), (4, 2, 2), (1, 16, 1)]),
    st.booleans(),
)
def test_any_leading_shape_is_rows(shape, as_list):
    # Called without jit: the engine inside is compiled once for 16 rows.
    losses = noisy()
    reshaped = losses.reshape(*shape, CHECKPOINTS)
    found = fit(Sigmoid(), AXIS.tolist() if as_list else AXIS, reshaped, options=ONE_START)
    rows = fit(Sigmoid(), AXIS, losses, options=ONE_START)
    assert found.rss.shape == shape
    assert same_bits(jax.tree.map(lambda a: np.asarray(a).reshape(CURVES), found), rows)


def test_calling_again_compiles_nothing():
    losses = noisy()
    fit(Sigmoid(), AXIS, losses, options=ONE_START)
    compiled = []

    def listen(event, duration, **_):
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit(Sigmoid(), AXIS * 2, losses + 1, options=FitOptions(starts=1))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0)])
def test_one_curve_and_none(shape):
    losses = np.broadcast_to(noisy()[5], (*shape, CHECKPOINTS))
    found = jax.tree.map(np.asarray, fit(Sigmoid(), AXIS, losses, options=ONE_START))
    check_consistent(found, losses)
    if found.rss.size:
        expected = jax.tree.map(lambda a: a[5].reshape(shape), fitter()(noisy()))
        assert_same_minimum(found, expected, curves=...)


def test_the_order_of_curves_does_not_matter():
    losses = noisy()
    order = np.random.default_rng(0).permutation(CURVES)
    found, permuted = fitter()(losses), fitter()(losses[order])
    assert_same_minimum(permuted, jax.tree.map(lambda a: a[order], found))


def test_one_by_one_is_the_same_as_together():
    losses = noisy()
    together = fitter()(losses)
    for k in range(0, CURVES, 4):
        alone = np.full_like(losses, np.nan)
        alone[k] = losses[k]
        # At the same place in the block, with nothing else in it: not a bit changes.
        assert same_bits(fitter()(alone), together, curves=[k])


@pytest.mark.parametrize("num_checkpoints", [4, 64, 100, 512, 16_385, 1_000_000])
def test_tiles_divide_blocks_whatever_the_number_of_checkpoints(num_checkpoints):
    tile = tile_size(num_checkpoints)
    assert tile >= 64
    assert default_block_size(num_checkpoints) % tile == 0


def test_block_size_changes_nothing():
    # 5 does not divide 16: the last block is padded.
    losses = noisy()
    losses[3] = np.nan
    found = fitter(options=FitOptions(starts=1, block_size=5))(losses)
    assert_same_minimum(found, fitter()(losses))


BAD = {
    "NaN": np.nan,
    "infinity": np.inf,
    "constant": 2.0,
    "zero": 0.0,
    "negative": -7.0,
    "huge": 1e30,
    "as large as float32 goes": 3e38,
    "tiny": 1e-40,
    "huge noise": 1e18 * np.random.default_rng(0).standard_normal(CHECKPOINTS),
    "noise": 5 + np.random.default_rng(0).standard_normal(CHECKPOINTS),
    "four points": np.where(np.arange(CHECKPOINTS) < 4, 3.0 + np.arange(CHECKPOINTS), np.nan),
    "alternating": np.where(np.arange(CHECKPOINTS) % 2, 3e38, -3e38),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_curve_changes_no_bit_of_its_neighbours(bad):
    good, spoiled = noisy(), noisy()
    spoiled[[0, 6, 15]] = np.asarray(bad, np.float32)
    others = np.setdiff1d(np.arange(CURVES), [0, 6, 15])
    assert same_bits(fitter()(spoiled), fitter()(good), curves=others)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0, 1e38, 1e-38])
def test_bad_weights_change_no_bit_of_the_neighbours(bad):
    losses, weights = (
        noisy(),
        np.random.default_rng(1).uniform(0.5, 2, (CURVES, CHECKPOINTS)).astype(np.float32),
    )
    spoiled = weights.copy()
    spoiled[[0, 6]], spoiled[15, 3] = bad, bad
    others = np.setdiff1d(np.arange(CURVES), [0, 6, 15])
    assert same_bits(fitter()(losses, spoiled), fitter()(losses, weights), curves=others)


def test_gaps_of_a_neighbour_change_no_bit():
    # One curve with gaps switches the whole block to the weighted search; the others must not notice.
    good, gaps = noisy(), noisy()
    gaps[4, ::3] = np.nan
    assert same_bits(fitter()(gaps), fitter()(good), curves=np.setdiff1d(np.arange(CURVES), [4]))


def test_results_are_a_pytree_of_arrays():
    found = fitter()(noisy())
    leaves, tree = jax.tree.flatten(found)
    assert len(leaves) == 2 * 4 + 6 + 2 + 4 + 1  # with noise, probabilities and that of a second event
    assert jax.tree.unflatten(tree, leaves).family == Sigmoid()
    assert all(isinstance(jnp.asarray(leaf), jax.Array) for leaf in leaves)
