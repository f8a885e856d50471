"""Spectra streamed from stores, against NumPy on all tokens at once."""

import dataclasses

import jax
import numpy as np
import pytest
from planted_store import STEP, planted_columns, planted_losses, write_fit_store

from tsl_jax.cli.spectrum import coordinates
from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import Category, predict
from tsl_jax.jobs import group_sums, mean_curves, read_spectrum, spectrum_of
from tsl_jax.jobs.positions import position_losses, position_sums
from tsl_jax.jobs.spectrum import losses as spectrum_losses
from tsl_jax.jobs.spectrum import token_groups
from tsl_jax.jobs.spectrum import tokens as spectrum_tokens
from tsl_jax.jobs.spectrum.token_groups import grouping_of
from tsl_jax.spectrum import Spectrum, SpectrumGrid, accumulate_rows, block_rows, group_times, resample_of
from tsl_jax.spectrum.tallies import DeviceTally, HostTally, tally_on
from tsl_jax.store import (
    FitStore,
    InvalidStoreError,
    LossStore,
    StoreError,
    StoreNotFoundError,
    create_losses,
    open_losses,
)

TOKENS = 430
GRID = SpectrumGrid(1.0, 256.0, "log", time_bins=64, sharpness_bins=12, resamples=16)
POSITION = np.arange(TOKENS, dtype="int32") % 10
COORDINATES = {
    "sequence": np.arange(TOKENS, dtype="int64") // 10 + 2**40,
    "position": POSITION,
    "domain": (np.arange(TOKENS) // 7 % 3).astype("int8"),
    "token_frequency": np.random.default_rng(1).zipf(1.5, TOKENS).clip(1, 10**6).astype("int64"),
    "surprise": np.where(np.arange(TOKENS) % 5 == 0, np.nan, np.random.default_rng(2).normal(size=TOKENS)),
}
NAMES = {"domains": ["verse", "prose", "code"]}


@pytest.fixture(scope="module")
def columns():
    return planted_columns(TOKENS)


@pytest.fixture(scope="module")
def store(columns, tmp_path_factory):
    losses = planted_losses(columns)
    losses[10:30, 3] = np.nan
    folder = tmp_path_factory.mktemp("spectrum")
    return write_fit_store(folder, columns, coordinates=COORDINATES, attributes=NAMES, losses=losses)


@pytest.fixture
def losses_of():
    return lambda fits: fits.location.directory.parent / "losses.zarr"


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def whole(columns, sequence):
    rows = block_rows(columns, columns["constant"], columns["status"], columns["category"], sequence)
    return accumulate_rows(Spectrum.empty(GRID), rows)


@pytest.mark.parametrize("tally", [DeviceTally, HostTally])
def test_streamed_is_in_memory_to_the_bit_whatever_the_blocks(store, columns, monkeypatch, tally):
    expected = whole(columns, COORDINATES["sequence"])
    monkeypatch.setattr(spectrum_tokens, "tally_on", lambda backend: tally)
    assert same(spectrum_of(store, grid=GRID), expected)
    monkeypatch.setattr(tally, "most", 128)  # two chunks of 50 a block
    assert same(spectrum_of(store.location.store, grid=GRID), expected)
    monkeypatch.setattr(tally, "most", 32)  # less than a chunk
    assert same(spectrum_of(store, grid=GRID), expected)


def test_device_and_host_count_alike_to_the_bit(columns):
    rows = block_rows(columns, columns["constant"], columns["status"], columns["category"], COORDINATES["sequence"])
    numbers = {"domain": COORDINATES["domain"].astype("int32"), "missing": np.where(POSITION < 3, -1, POSITION % 2)}
    tallies = [tally(GRID, {"domain": 3, "missing": 2}) for tally in (DeviceTally, HostTally)]
    for tally in tallies:
        for part in (slice(0, 300), slice(300, TOKENS)):
            here = {name: number[part] for name, number in numbers.items()}
            resample = tally.add(tuple(values[part] for values in rows), 512, here)
            np.testing.assert_array_equal(resample, resample_of(rows[-1][part], GRID.resamples))
    device, host = tallies
    assert same(device.spectrum(), host.spectrum())
    assert all(same(device.counts(name), host.counts(name)) for name in numbers)
    assert tally_on("cpu") is HostTally
    assert tally_on("gpu") is DeviceTally


def test_the_host_counts_beyond_32_bits():
    tally = HostTally(GRID, {})
    tally._sums["count"][0, 0, 5, 5] = 2**40 + 3
    assert tally.spectrum().count.integers()[0, 0, 5, 5] == 2**40 + 3


def test_the_default_window_is_that_of_the_fitted_checkpoints(store):
    grid = spectrum_of(store).grid
    assert grid == SpectrumGrid(1.0, 256.0, "log")
    assert Spectrum.empty(grid).grid.time_bins == 512


def test_every_token_is_counted_also_those_not_fitted_yet(tmp_path, columns):
    store = write_fit_store(tmp_path, columns, finished=False)
    tokens = spectrum_of(store, grid=GRID).tokens
    assert tokens["PENDING"] == TOKENS - 100
    assert sum(tokens.values()) == TOKENS
    assert tokens["UNLEARNED"] == np.sum(columns["category"][:100] == Category.UNLEARNED)


def test_groups_of_several_coordinates_in_one_pass(store, columns):
    names = ["domain", "token_frequency", "surprise", "domain"]
    read = read_spectrum(store, by=names, bins=4, grid=GRID)
    assert list(read.groups) == ["domain", "token_frequency", "surprise"]
    falls = (columns["category"] == Category.LEARNED) & (columns["loss_drop"] > 0)
    for name, group in read.groups.items():
        number = group.grouping.of(COORDINATES[name])
        times = group_times(group.counts)
        for index in range(len(group.grouping.labels)):
            mine = columns["learning_time"][falls & (number == index)]
            assert int(times.events[index]) == len(mine)
            near = np.sort(mine)[[(len(mine) - 1) // 2, len(mine) // 2]]
            wide = np.exp(GRID.width)  # a median of bins is known to one bin
            assert near[0] / wide <= times.median[index] <= near[1] * wide
        assert sum(group.counts.tokens[-1].values()) == np.sum(number == -1)
        assert sum(sum(row.values()) for row in group.counts.tokens) == TOKENS
    assert read.groups["domain"].grouping.labels == ("verse", "prose", "code")
    assert np.sum(read.groups["surprise"].grouping.of(COORDINATES["surprise"]) == -1) == TOKENS // 5


def test_dependency_lengths_are_groups_where_the_store_has_them_and_no_row_is_read_twice(
    tmp_path, columns, monkeypatch
):
    length = 2 ** (np.arange(TOKENS) // 10 % 4)  # context that recovers 90% of the performance with all of it
    given = {"position": POSITION, "dependency_length": length.astype("int32")}
    store, rows, read_rows = write_fit_store(tmp_path, columns, coordinates=given), [], FitStore.read_array

    def counted(fits, array, start, stop):
        if array.basename in fits.arrays:
            rows.append((array.name, start, stop))
        return read_rows(fits, array, start, stop)

    monkeypatch.setattr(FitStore, "read_array", counted)
    read = read_spectrum(store, by=coordinates(store, None), grid=GRID)
    assert list(read.groups) == ["position", "dependency_length"]
    group = read.groups["dependency_length"]
    assert group.grouping.labels == ("1", "2", "4", "8")
    counts = [sum(row.values()) for row in group.counts.tokens]
    assert counts == [*np.bincount(np.log2(length).astype(int)), 0]
    read_of_one = sum(stop - start for name, start, stop in rows if name.endswith("learning_time"))
    assert read_of_one == TOKENS
    assert len(rows) == len(set(rows))


def test_quantile_bins_hold_what_their_labels_say(store):
    grouping = grouping_of(store, "token_frequency", 4)
    column = COORDINATES["token_frequency"]
    number = grouping.of(column)
    assert set(number) == set(range(len(grouping.labels)))
    for index, label in enumerate(grouping.labels):
        first, _, last = label.replace(",", "").partition(" to ")
        assert column[number == index].min() == int(first)
        assert column[number == index].max() == int(last or first)
    assert grouping_of(store, "position", 4).labels == tuple("0123456789")  # few values are categories


def test_quantiles_of_large_stores_come_from_a_sample_of_all_parts(store, monkeypatch):
    monkeypatch.setattr(token_groups, "_SAMPLED_TOKENS", 64)
    monkeypatch.setattr(token_groups, "_RUN_TOKENS", 4)
    grouping = grouping_of(store, "token_frequency", 4)
    assert set(grouping.of(COORDINATES["token_frequency"])) == set(range(len(grouping.labels)))


def test_sums_for_the_mean_loss_by_resample_group(store, losses_of, monkeypatch):
    monkeypatch.setattr(
        spectrum_losses, "_LOSS_BYTES", 16 * len(STEP) * 64
    )  # pieces of 64 tokens, the last one shorter
    sums = read_spectrum(store, losses_of(store), grid=GRID).losses
    means = mean_curves(losses_of(store), store)
    np.testing.assert_allclose(sums.mean_loss(), means.mean_loss[1:], rtol=1e-6)
    np.testing.assert_allclose(sums.mean_fit(), means.mean_fit[1:], rtol=1e-6)
    np.testing.assert_array_equal(sums.number.sum(0), means.num_tokens[1:])
    sequence = spectrum_tokens.block_rows(
        dict.fromkeys(("learning_time", "sharpness", "loss_drop", "final_loss"), POSITION),
        *(POSITION, POSITION, POSITION, COORDINATES["sequence"]),
    )[-1]
    group = np.asarray(resample_of(sequence, 16))
    np.testing.assert_array_equal(sums.number[:, -1], np.bincount(group, minlength=16))


def test_one_walk_brings_the_losses_by_position_too_and_reads_none_twice(store, losses_of, monkeypatch):
    losses, rows, read_rows = open_losses(losses_of(store)), [], LossStore.read
    alone, spectrum = position_losses(losses), read_spectrum(store, losses, grid=GRID)

    def recorded(one, tokens=slice(None)):
        rows.append((tokens.start, tokens.stop))
        return read_rows(one, tokens)

    monkeypatch.setattr(LossStore, "read", recorded)
    monkeypatch.setattr(group_sums, "BLOCK_BYTES", 8 * len(STEP) * 48)
    monkeypatch.setattr(HostTally, "most", 128)
    walk = read_spectrum(store, losses, grid=GRID, positions=position_sums(losses))
    assert sorted(number for span in rows for number in range(*span)) == list(range(TOKENS))
    assert len(rows) > 8
    for field in dataclasses.fields(alone):
        one, other = (getattr(found, field.name) for found in (walk.positions, alone))
        if field.name == "axis_name":
            assert one == other
        else:
            np.testing.assert_allclose(one, other, rtol=1e-6)
    assert same(walk.spectrum, spectrum.spectrum)
    np.testing.assert_allclose(walk.losses.loss, spectrum.losses.loss, rtol=1e-5)


def test_sums_of_tokens_with_a_second_event_of_constants_and_of_another_run(tmp_path, columns):
    likely = np.random.default_rng(3).integers(0, 256, TOKENS).astype("uint8")  # 255: not known
    planted = planted_losses(columns)
    store = write_fit_store(tmp_path, columns | {"second_event": likely}, coordinates=COORDINATES, losses=planted)
    other = planted + 0.5
    other[5] = np.nan
    create_losses(tmp_path / "other.zarr", other.astype("float16"), checkpoints={"step": STEP}, tokens=COORDINATES)
    read = read_spectrum(store, tmp_path / "losses.zarr", other_run=tmp_path / "other.zarr", grid=GRID)
    sums = read.losses
    second = (likely > 127) & (likely < 255)
    fits, step = store.read(), np.asarray(STEP[1:], "float32")
    fitted = np.asarray(predict(Sigmoid(), step, fits.params, fits.status, fits.category, fits.constant))
    gap = np.float16(planted)[:, 1:].astype(float) - fitted
    np.testing.assert_allclose(sums.second_gap.sum(0), gap[second].sum(0), atol=1e-3)
    assert sums.second_number.sum(0).tolist() == [second.sum()] * len(step)
    constant = columns["category"] == Category.UNLEARNED
    np.testing.assert_allclose(sums.constant_gap.sum(0), gap[constant].sum(0), atol=1e-3)
    np.testing.assert_allclose((sums.other - sums.own).sum(0) / sums.both.sum(0), 0.5, atol=2e-3)
    assert sums.both.sum(0).tolist() == [TOKENS - 1] * len(step)


def test_another_run_of_other_tokens_or_checkpoints_is_refused(tmp_path, store, losses_of):
    def losses(name, **given):
        known = {"checkpoints": {"step": STEP}, "tokens": COORDINATES} | given
        create_losses(tmp_path / name, np.ones((TOKENS, len(STEP)), "float16"), **known)
        return tmp_path / name

    later = losses("later.zarr", checkpoints={"step": STEP + 1})
    with pytest.raises(StoreError, match=r"other_run: .* has other values of step"):
        read_spectrum(store, losses_of(store), other_run=later, grid=GRID)
    moved = losses("moved.zarr", tokens=COORDINATES | {"position": POSITION[::-1]})
    with pytest.raises(StoreError, match=r"other_run: .* other values of position than .* they are other tokens"):
        read_spectrum(store, losses_of(store), other_run=moved, grid=GRID)
    with pytest.raises(ValueError, match="other_run: got one without the losses"):
        read_spectrum(store, other_run=later, grid=GRID)


def test_sequences_come_from_positions_where_they_have_no_number(tmp_path, columns, monkeypatch):
    store = write_fit_store(tmp_path, columns, coordinates={"position": POSITION})
    monkeypatch.setattr(HostTally, "most", 64)  # sequences of 10 lie across blocks of 50 and 64
    read = read_spectrum(store, grid=GRID)
    assert read.sequences == "position"
    assert same(read.spectrum, whole(columns, np.arange(TOKENS) // 10))


def test_without_coordinates_every_token_is_its_own_sequence(tmp_path, columns):
    read = read_spectrum(write_fit_store(tmp_path, columns), grid=GRID)
    assert read.sequences == "token"
    assert same(read.spectrum, whole(columns, np.arange(TOKENS)))


def test_progress_ends_with_all_tokens(store):
    seen = []
    read_spectrum(store, grid=GRID, progress=lambda *done: seen.append(done))
    assert seen[-1] == (TOKENS, TOKENS)


def test_what_is_no_fit_store_of_sigmoids_is_refused(tmp_path, store, columns, losses_of):
    with pytest.raises(InvalidStoreError, match="not a valid store of fits"):
        spectrum_of(losses_of(store))
    with pytest.raises(StoreNotFoundError):
        spectrum_of(tmp_path / "nothing")
    parameters = {"coefficient": "nat", "exponent": "1", "floor": "nat"}
    other = write_power_laws(tmp_path, columns, parameters)
    with pytest.raises(StoreError, match=r"'power_law' has no single event.*tsl\.Sigmoid\(\)"):
        spectrum_of(other)


def write_power_laws(folder, columns, parameters):
    columns = {name: columns[old] for name, old in zip(parameters, columns, strict=False)} | columns
    keep = {*parameters, "constant", "status", "category"}
    columns = {name: column for name, column in columns.items() if name in keep}
    return write_fit_store(
        folder,
        columns,
        losses=np.ones((TOKENS, len(STEP))),
        family="power_law",
        family_fields={},
        parameters=parameters,
        event=None,
    )


def test_what_does_not_fit_together_is_refused(tmp_path, store):
    with pytest.raises(StoreError, match=r"by: got 'colour', expected a token coordinate of .*: domain, "):
        read_spectrum(store, by=["colour"], grid=GRID)
    with pytest.raises(ValueError, match="bins: got 1, expected at least 2"):
        read_spectrum(store, bins=1)
    with pytest.raises(StoreError, match=r"grid: got scale 'linear', expected that of the fits .* 'log'"):
        read_spectrum(store, grid=SpectrumGrid(1.0, 256.0, "linear"))
    create_losses(tmp_path / "other.zarr", np.ones((5, 3), "float16"), checkpoints={"step": [1, 2, 3]})
    with pytest.raises(StoreError, match=r"has shape \(5, 3\), the fits .* were made from \(430, 10\)"):
        read_spectrum(store, tmp_path / "other.zarr")
