"""Fit stores of the same tokens: compared a block at a time as in memory, refused where they do not belong together."""

import dataclasses

import numpy as np
import pytest
import zarr

import tsl_jax as tsl
from tests.planted_store import STEP, planted_columns, write_fit_store
from tests.seeded_runs import COORDINATES
from tests.seeded_stores import TOKENS, seeded_columns, token_coordinates, write_runs
from tsl_jax.fitting import Category, Status, degrees_of_freedom
from tsl_jax.jobs.comparing import runs as compare_runs
from tsl_jax.runs import RunTokens, TokenKind, combine_runs, combined_statistic
from tsl_jax.store import ChangedError, StoreError, open_fits, validate


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"), seeded_columns(runs=3, factor=3.0))


def tokens_of(path):
    fits = open_fits(path).read()
    freedom = np.asarray(degrees_of_freedom(fits.noise_correlation, fits.num_points))
    return RunTokens(fits.params, fits.stderr, fits.status, fits.category, fits.probabilities, freedom)


def test_a_store_is_compared_as_in_memory(runs):
    found = tsl.compare(*runs)
    assert found.names == tuple(map(str, runs))
    assert set(found.pairs) == {(0, 1), (0, 2), (1, 2)}
    one, two = (tokens_of(path) for path in runs[:2])
    falls = [(run.category == Category.LEARNED) & (run.params["loss_drop"] > 0) for run in (one, two)]
    assert found.pairs[0, 1].kinds[TokenKind.FALLS, TokenKind.FALLS] == np.sum(falls[0] & falls[1])
    time = found.pairs[0, 1].of("learning_time")
    y = [np.log(run.params["learning_time"].astype(float))[falls[0] & falls[1]] for run in (one, two)]
    assert time.median_difference == pytest.approx(np.median(y[1] - y[0]), abs=0.02)
    assert time.coverage_between_runs[1] == pytest.approx(0.9, abs=0.03)
    assert found.components.find("learning_time", "falling").factor == pytest.approx(3, rel=0.25)
    assert found.notes == ()
    assert (found.axis_name, found.scale) == ("step", "log")


def test_blocks_are_bounded_and_change_nothing(runs, monkeypatch):
    whole, seen = tsl.compare(*runs), []
    monkeypatch.setattr(compare_runs, "_BLOCK_TOKENS", 130)
    parts = tsl.compare(*runs, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(min(done, TOKENS), TOKENS) for done in range(130, TOKENS + 130, 130)]
    for field in dataclasses.fields(whole.counts):
        assert np.array_equal(getattr(whole.counts, field.name), getattr(parts.counts, field.name)), field.name
    assert str(whole.as_dict()) == str(parts.as_dict())


def test_bins_come_from_pieces_of_a_large_store(runs, monkeypatch):
    whole = tsl.compare(*runs[:2]).all_pairs.of("learning_time")
    monkeypatch.setattr(compare_runs, "_SAMPLED_TOKENS", 320)
    monkeypatch.setattr(compare_runs, "_RUN_TOKENS", 5)
    sampled = tsl.compare(*runs[:2])
    assert len(sampled.plan.rank_edges[TokenKind.FALLS, "learning_time"]) < 128
    one = sampled.all_pairs.of("learning_time")
    assert one.tokens == whole.tokens
    assert one.rank_correlation == pytest.approx(whole.rank_correlation, abs=1e-3)


def test_components_of_other_runs_judge_these(runs, tmp_path):
    others = write_runs(tmp_path, seeded_columns(seed=60, factor=3.0))
    components = tsl.compare(*others).components
    found = tsl.compare(*runs[:2], components=components)
    assert found.components is components
    assert not found.estimated
    time = found.all_pairs.of("learning_time")
    assert time.coverage[1] < 0.75
    assert time.coverage_between_runs[1] == pytest.approx(0.9, abs=0.04)


def test_coordinates_may_be_left_out(tmp_path):
    columns, coordinates = seeded_columns(300), token_coordinates(300)
    other = coordinates | {"token_frequency": np.arange(300)}
    paths = [
        *write_runs(tmp_path / "a", columns[:1], coordinates | {"token_frequency": np.arange(300) + 1}),
        *write_runs(tmp_path / "b", columns[1:], other | {"domain": np.zeros(300, "int8")}),
    ]
    with pytest.raises(StoreError, match=r"'token_frequency' of token 0 is 0, but 1 there.*--ignore token_freq"):
        tsl.compare(*paths)
    found = tsl.compare(*paths, ignore=["token_frequency"])
    assert len(found.notes) == 1
    assert "Only in one of" in found.notes[0]
    assert found.notes[0].endswith("and not compared: domain.")
    with pytest.raises(StoreError, match="ignore: got 'sequenze', expected a token coordinate"):
        tsl.compare(*paths, ignore=["sequenze"])
    bare = write_runs(tmp_path / "c", columns, {})
    assert "nothing but their number says that the tokens are the same" in tsl.compare(*bare).notes[0]


def test_the_first_token_that_differs_is_named(tmp_path, monkeypatch):
    columns, coordinates = seeded_columns(), token_coordinates()
    first = write_runs(tmp_path / "a", columns[:1])
    changed = coordinates | {"token_id": coordinates["token_id"].copy()}
    changed["token_id"][[777, 900]] = 99
    (second,) = write_runs(tmp_path / "b", columns[1:], changed)
    monkeypatch.setattr(compare_runs, "_BLOCK_TOKENS", 130)
    with pytest.raises(StoreError, match="'token_id' of token 777 is 99, but 39 there"):
        tsl.compare(*first, second)


REFUSED = {
    "another number": ({"tokens": 900}, {}, "900 tokens, but 1,200 in"),
    "another scale": ({}, {"scale": "linear"}, "scale 'linear', but 'log' in"),
    "another axis": ({}, {"axis": "tokens_seen"}, "axis 'tokens_seen', but 'step' in"),
    "not finished": ({}, {"finished": False}, "2 of 3 blocks are not fitted yet"),
    "another unit": (
        {},
        {"unit": "token"},
        r"parameters learning_time \(token\).*but learning_time \(axis\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused(tmp_path, name):
    columns, more, says = REFUSED[name]
    more = dict(more)
    if more.get("axis"):  # written with the axis that there is, and renamed
        del more["axis"]
    if unit := more.pop("unit", None):
        more["parameters"] = {
            "learning_time": unit, "sharpness": "1/u", "loss_drop": "nat", "final_loss": "nat"
        }  # fmt: skip
    first = write_runs(tmp_path / "a", seeded_columns()[:1])
    second = write_runs(tmp_path / "b", seeded_columns(columns.get("tokens", TOKENS))[1:], **more)
    if name == "another axis":
        group = zarr.open_group(second[0], mode="r+")
        group.create_array("tokens_seen", data=STEP * 8, dimension_names=("checkpoint",))
        group.attrs["axis"] = "tokens_seen"
    with pytest.raises(StoreError, match=says):
        tsl.compare(*first, *second)


def test_one_run_is_not_compared_with_itself(runs, tmp_path):
    with pytest.raises(StoreError, match="given twice"):
        tsl.compare(runs[0], runs[1], runs[0])
    with pytest.raises(StoreError, match="at least two"):
        tsl.compare(runs[0])
    with pytest.raises(ValueError, match="level: got 1"):
        tsl.compare(*runs, level=1.0)
    step = np.geomspace(10, 1e4, 12)
    losses = 1 + 5 / (1 + (step / np.array([[100.0], [800.0]])) ** 3)
    tsl.create_losses(tmp_path / "losses.zarr", losses.astype("f4"), checkpoints={"step": step})
    for name, options in (("a", tsl.FitOptions(max_steps=8)), ("b", tsl.FitOptions(max_steps=9))):
        tsl.fit_store(tmp_path / "losses.zarr", tmp_path / name, tsl.Sigmoid(), options=options)
    with pytest.raises(StoreError, match="one run fitted twice"):
        tsl.compare(tmp_path / "a", tmp_path / "b")


def test_stores_without_tokens_and_of_other_families_are_refused(tmp_path, runs):
    empty = [tmp_path / name for name in ("a", "b")]
    for place in empty:
        place.mkdir()
        write_fit_store(place, planted_columns(0))
    with pytest.raises(StoreError, match="no tokens"):
        tsl.compare(*(place / "fits.zarr" for place in empty))
    own = write_runs(tmp_path / "own", seeded_columns(300), family="gompertz")
    with pytest.raises(StoreError, match="pass your Family object as family"):
        tsl.compare(*own)
    assert tsl.compare(*own, family=tsl.Sigmoid()).all_pairs.of("learning_time").tokens > 200
    components = tsl.compare(*runs).components
    components = dataclasses.replace(components, items=components.items[:3])
    with pytest.raises(ValueError, match="compare runs of this family and scale"):
        tsl.compare(*runs, components=components)


def test_other_checkpoints_and_options_are_said(tmp_path):
    columns = seeded_columns(300)
    first = write_runs(tmp_path / "a", columns[:1])
    options = dataclasses.asdict(tsl.FitOptions(significance=0.05))
    second = write_runs(tmp_path / "b", columns[1:], left_out_checkpoints=(0, 1), options=options)
    notes = tsl.compare(*first, *second).notes
    assert len(notes) == 2
    assert notes[0].startswith("Other checkpoints: 9 from step 1 to 256 in ")
    assert "; 8 from step 2 to 256 in " in notes[0]
    assert notes[1].endswith("significance 0.01 and 0.05.")


@pytest.fixture(scope="module")
def components(runs):
    return tsl.compare(*runs).components


def test_combined_fits_are_a_fit_store_of_the_same_schema(runs, components, tmp_path):
    seen = []
    combined = tsl.combine_fits(runs, tmp_path / "c.zarr", components, progress=lambda *done: seen.append(done))
    assert seen == [(done, TOKENS) for done in (400, 800, 1200)]
    first = open_fits(runs[0])
    assert validate(tmp_path / "c.zarr") == []
    assert combined.complete
    assert combined.array_names == first.array_names
    assert set(combined.token_coordinates) == set(first.token_coordinates)
    assert {name: array.dtype for name, array in combined.arrays.items()} == {
        name: array.dtype for name, array in first.arrays.items()
    }
    assert combined.attributes["combined"] == {"runs": [str(path) for path in runs], "components": components.as_dict()}
    stored, fits = combined.read(), [tokens_of(path) for path in runs]
    want = combine_runs(fits, COORDINATES, components, "learning_time", (1.0, 256.0))
    for name in COORDINATES:
        np.testing.assert_allclose(stored.params[name], want.params[name], rtol=1e-6)
        np.testing.assert_allclose(stored.stderr[name], want.stderr[name], rtol=1e-6)
    assert np.array_equal(stored.category, want.category)
    assert np.array_equal(stored.status, want.status)
    points = np.stack([open_fits(path).read().num_points for path in runs])
    for name in ("rss", "r2", "constant", "num_points"):
        values = np.stack([getattr(open_fits(path).read(), name) for path in runs])
        np.testing.assert_allclose(getattr(stored, name), combined_statistic(name, values, want, points), rtol=1e-6)
    assert np.array_equal(combined.read_coordinate("token_id"), token_coordinates()["token_id"])
    assert set(want.category) == {Category.LEARNED, Category.LATE, Category.UNLEARNED}


def test_combined_fits_serve_spectrum_and_score(runs, components, tmp_path):
    combined = tsl.combine_fits(runs, tmp_path / "c.zarr", components)
    category = combined.read().category
    spectrum = tsl.spectrum_of(combined)
    assert spectrum.tokens["LEARNED"] == np.sum(category == Category.LEARNED)
    assert spectrum.tokens["UNUSABLE"] == 0
    assert len(tsl.score_store(combined, (10, 100)).sequence) == TOKENS // 12
    again = tsl.combine_fits([combined, runs[0]], tmp_path / "d.zarr", components)
    assert again.attributes["combined"]["runs"] == [str(tmp_path / "c.zarr"), str(runs[0])]


@pytest.mark.parametrize("at", [3, 40, 70])
def test_a_killed_combination_goes_on_and_ends_alike(runs, components, tmp_path, tree, kill_at, at):
    tsl.combine_fits(runs, tmp_path / "whole.zarr", components)
    whole = tree(tmp_path / "whole.zarr")
    arm = kill_at(tmp_path / "killed.zarr", at)
    with pytest.raises(kill_at.error):
        tsl.combine_fits(runs, tmp_path / "killed.zarr", components)
    assert arm() >= at
    kill_at(tmp_path / "nowhere", 1)
    tsl.combine_fits(runs, tmp_path / "killed.zarr", components)
    assert tree(tmp_path / "killed.zarr") == whole


def test_outputs_of_something_else_are_refused(runs, components, tmp_path):
    tsl.combine_fits(runs[:2], tmp_path / "c.zarr", components)
    with pytest.raises(ChangedError, match=r"input\.runs"):
        tsl.combine_fits(runs[1:], tmp_path / "c.zarr", components)
    assert tsl.combine_fits(runs[1:], tmp_path / "c.zarr", components, overwrite=True).complete
    for path in runs[:2]:
        with pytest.raises(StoreError, match="the output is the input"):
            tsl.combine_fits(runs[:2], path, components, overwrite=True)
    assert np.sum(open_fits(runs[0]).read().status == Status.PENDING) == 0
