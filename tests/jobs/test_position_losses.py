"""Mean losses per position: against loops over tokens, block by block, with gaps, and what is refused."""

import importlib

import numpy as np
import pytest
import zarr

from tsl_jax.jobs import group_sums
from tsl_jax.jobs.positions import position_losses
from tsl_jax.store import LossStore, StoreError, create_losses

module = importlib.import_module("tsl_jax.jobs.positions")
SEQUENCES, LENGTH, CHECKPOINTS = 50, 7, 5
STEP = np.array([0, 10, 20, 40, 80])


def losses(seed=0, missing=0.1):
    random = np.random.default_rng(seed)
    values = random.gamma(4.0, 1.0, (SEQUENCES * LENGTH, CHECKPOINTS)).astype(np.float32)
    values[random.random(values.shape) < missing] = np.nan
    return values


def tokens(**others):
    """Coordinates of whole sequences, one after the other."""
    coordinates = {
        "position": np.tile(np.arange(LENGTH), SEQUENCES),
        "sequence": np.repeat(np.arange(SEQUENCES), LENGTH),
    }
    return {name: value for name, value in (coordinates | others).items() if value is not None}


def store(values, coordinates, chunk_tokens=64):
    memory = zarr.storage.MemoryStore()
    create_losses(memory, values, checkpoints={"step": STEP}, tokens=coordinates, chunk_tokens=chunk_tokens)
    return memory


def test_means_errors_and_counts_are_those_of_a_loop():
    values, coordinates = losses(), tokens()
    values[coordinates["position"] == 4, 2] = np.nan
    lonely = np.flatnonzero(coordinates["position"] == 5)
    values[lonely[1:], 3] = np.nan
    values[lonely[0], 3] = 4.0
    found = position_losses(store(values, coordinates))
    assert found.position.tolist() == list(range(1, LENGTH + 1))
    assert found.axis.tolist() == STEP.tolist()
    assert found.axis_name == "step"
    for p in range(LENGTH):
        for c in range(CHECKPOINTS):
            here = values[coordinates["position"] == p, c].astype(np.float64)
            here = here[np.isfinite(here)]
            assert found.count[c, p] == len(here)
            mean = here.mean() if len(here) else np.nan
            error = here.std(ddof=1) / np.sqrt(len(here)) if len(here) > 1 else np.nan
            np.testing.assert_allclose(found.mean[c, p], mean, rtol=1e-12)
            np.testing.assert_allclose(found.stderr[c, p], error, rtol=1e-9)


def test_groups_hold_whole_sequences_evenly_and_add_up():
    values, coordinates = losses(), tokens()
    found = position_losses(store(values, coordinates), groups=8)
    shape = (8, CHECKPOINTS, LENGTH)
    assert found.group_mean.shape == found.group_count.shape == shape
    total = np.sum(np.where(found.group_count > 0, found.group_mean, 0) * found.group_count.astype(float), axis=0)
    np.testing.assert_allclose(total / found.group_count.sum(axis=0), found.mean, rtol=1e-6)
    # Without gaps every group has all positions of its sequences, the same at all checkpoints.
    whole = position_losses(store(losses(missing=0), coordinates), groups=8)
    assert np.all(whole.group_count == whole.group_count[:, :1, :1])
    sizes = whole.group_count[:, 0, 0]
    assert sizes.sum() == SEQUENCES
    assert sizes.max() - sizes.min() <= 2


def test_domains_that_take_turns_are_spread_over_the_groups():
    groups = module._group_of(np.arange(4 * 64 * 20), 64)
    domain = np.arange(len(groups)) % 4
    share = np.array([np.bincount(domain[groups == g], minlength=4) for g in range(64)])
    assert np.all(share.sum(axis=1) == 80)
    assert share.min() > 4  # dealt in order, every group would have 80 of one domain


def test_blocks_change_nothing_and_stay_small(monkeypatch):
    memory = store(losses(), tokens(sequence=None), chunk_tokens=16)
    at_once = position_losses(memory, groups=8)
    read = LossStore.read
    rows = []

    def record(self, part):
        rows.append(part.stop - part.start)
        return read(self, part)

    monkeypatch.setattr(LossStore, "read", record)
    monkeypatch.setattr(group_sums, "BLOCK_BYTES", 48 * 8 * CHECKPOINTS)
    monkeypatch.setattr(group_sums, "_CACHED_BYTES", 20 * 8 * CHECKPOINTS)
    monkeypatch.setattr(module, "_COORDINATE_ROWS", 33)
    streamed = position_losses(memory, groups=8)
    assert len(rows) > 5
    assert max(rows) == 48
    assert rows.count(48) >= len(rows) - 1
    for name in ("mean", "stderr", "group_mean"):
        np.testing.assert_allclose(getattr(streamed, name), getattr(at_once, name), rtol=1e-6)
    np.testing.assert_array_equal(streamed.group_count, at_once.group_count)


def test_without_sequences_positions_tell_where_one_begins():
    values = losses()
    told, derived = (position_losses(store(values, tokens(**c))) for c in ({}, {"sequence": None}))
    # The first sequence has the number 0 in one and 1 in the other: other groups, as many.
    np.testing.assert_array_equal(derived.mean, told.mean)
    assert len(derived.group_mean) == len(told.group_mean) == SEQUENCES


def test_positions_that_do_not_occur_are_left_out():
    coordinates = tokens(position=np.tile(3 + 2 * np.arange(LENGTH), SEQUENCES))
    assert position_losses(store(losses(), coordinates)).position.tolist() == [4, 6, 8, 10, 12, 14, 16]


def test_the_order_of_tokens_does_not_matter():
    order = np.random.default_rng(1).permutation(SEQUENCES * LENGTH)
    shuffled = {name: value[order] for name, value in tokens().items()}
    plain, mixed = position_losses(store(losses(), tokens())), position_losses(store(losses()[order], shuffled))
    np.testing.assert_allclose(mixed.mean, plain.mean, rtol=1e-12)
    np.testing.assert_allclose(mixed.group_mean, plain.group_mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("coordinates", "options", "error", "message"),
    [
        ({"position": None}, {}, StoreError, "position: .* no such token coordinate.*tokens={'position'"),
        ({"position": np.full(SEQUENCES * LENGTH, -1)}, {}, StoreError, "token 0 of .* has -1"),
        ({"position": np.full(SEQUENCES * LENGTH, 0.5)}, {}, StoreError, "expected whole numbers"),
        ({"position": np.full(SEQUENCES * LENGTH, np.nan)}, {}, StoreError, "has nan"),
        ({}, {"axis": "epoch"}, StoreError, "axis: got 'epoch', expected one of 'step'"),
        ({}, {"groups": 1}, ValueError, "groups: got 1"),
        ({}, {"memory": 20 * 35 * 9}, ValueError, "pass groups=9 or more memory"),
        ({}, {"memory": 100}, ValueError, "pass more memory"),
    ],
)
def test_what_is_refused_names_the_cure(coordinates, options, error, message):
    memory = store(losses(), tokens(**coordinates))
    with pytest.raises(error, match=message):
        position_losses(memory, **options)


def test_the_table_is_itself_a_store_that_hyperbolas_are_fitted_to(cheap_engine):
    from tsl_jax.curves import Hyperbola
    from tsl_jax.jobs import fit_store

    found = position_losses(store(losses(), tokens()))
    table, fits = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
    create_losses(table, found.mean, checkpoints={"position": found.position}, tokens={"step": found.axis})
    summary = fit_store(table, fits, Hyperbola(), axis="position")
    assert summary.tokens == CHECKPOINTS
    assert summary.checkpoints == LENGTH
