"""Fit stores: made, taken up after a kill at any write, and refused when input or options changed."""

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from tests.kills import Killed, full_disk, tree
from tsl_jax.fitting import EVENT_CATEGORIES
from tsl_jax.store import (
    PROBABILITY_ARRAYS,
    BlockState,
    ChangedError,
    FitHeader,
    FitWriter,
    InvalidStoreError,
    Layout,
    StoreError,
    WriteError,
    block_digest,
    create_losses,
    damaged_blocks,
    locate,
    open_fits,
    open_losses,
    refuse_foreign,
    resume_or_create,
    validate,
    writer_lock,
)

HEADER = {
    "family": "sigmoid",
    "family_fields": {"scale": "log"},
    "parameters": {"learning_time": "axis", "sharpness": "1/u"},
    "scale": "log",
    "axis": "step",
    "options": {"max_steps": 64, "tolerance": None},
    "dtype": "float32",
    "package_version": "0.1.0",
    "left_out_checkpoints": (0,),
}
LAYOUT = Layout(chunk_tokens=5, shard_tokens=10, block_tokens=20)
TOKENS = 50


def make_losses(store, num_tokens=TOKENS, seed=0, **changes):
    values = np.random.default_rng(seed).uniform(1, 9, (num_tokens, 4)).astype("float16")
    arguments = {
        "checkpoints": {"step": [0, 1, 2, 3]},
        "tokens": {"domain": np.arange(num_tokens, dtype="int8") % 3},
        "attributes": {"domains": ["a", "b", "c"], "loss_unit": "nat"},
        "chunk_tokens": 5,
        "shard_tokens": 10,
        "overwrite": True,
    }
    return create_losses(store, values, **(arguments | changes))


def fit_all(
    losses, target, *, overwrite=False, layout=LAYOUT, deep=False, most=None, objects=None, told=None, **changes
):
    """The job without an engine: what it writes is a function of the losses; ``told`` is called after each block."""
    location = locate(target, writable=True)
    with writer_lock(location):
        fits = resume_or_create(
            location, losses, FitHeader(**(HEADER | changes)), layout, overwrite=overwrite, objects=objects
        )
        writer, size = FitWriter(fits), fits.ledger.block_tokens
        done, damaged = 0, damaged_blocks(fits, deep=deep)
        for block in damaged:
            writer.reopen(block)
        todo = {*np.flatnonzero(fits.ledger.states != BlockState.FINISHED), *damaged}
        for block in sorted(todo)[:most]:
            start, stop = block * size, min((block + 1) * size, losses.num_tokens)
            rows, coordinates = losses.read(slice(start, stop)), {"domain": losses.read_coordinate("domain")}
            coordinates["domain"] = coordinates["domain"][start:stop]
            mean = rows.mean(axis=1, dtype="float32")
            values = dict.fromkeys(fits.array_names, mean) | coordinates
            values |= {
                "status": np.zeros(stop - start, "uint8"),
                "category": np.ones(stop - start, "uint8"),
                "num_points": np.full(stop - start, 4, "int32"),
            }
            writer.write(block, values)
            digest = block_digest(losses, start, stop, rows, coordinates, objects)
            writer.finish(block, BlockState.FINISHED, digest, values["status"], values["category"])
            done += 1
            if told is not None:
                told()
    return done


def test_a_fit_store_holds_everything(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    assert fit_all(losses, tmp_path / "fits.zarr") == 3
    assert validate(tmp_path / "fits.zarr") == []
    fits = open_fits(tmp_path / "fits.zarr")
    assert (fits.num_tokens, fits.num_checkpoints, fits.complete) == (50, 4, True)
    assert (fits.family, fits.scale, fits.axis_name) == ("sigmoid", "log", "step")
    assert fits.parameters == ("learning_time", "sharpness")
    assert fits.options == HEADER["options"]
    assert fits.left_out_checkpoints == (0,)
    assert fits.attributes["domains"] == ["a", "b", "c"]
    assert fits.arrays["sharpness"].attrs["units"] == "1/u"
    assert (fits.chunk_tokens, fits.shard_tokens, fits.ledger.block_tokens) == (5, 10, 20)
    assert fits.axis().tolist() == [0, 1, 2, 3]
    mean = losses.read().mean(axis=1, dtype="float32")
    part = fits.read(slice(7, 33))
    np.testing.assert_array_equal(part.params["sharpness"], mean[7:33])
    np.testing.assert_array_equal(part.stderr["learning_time"], mean[7:33])
    np.testing.assert_array_equal(fits.read_coordinate("domain"), losses.read_coordinate("domain"))
    assert fits.ledger.status_counts() == {0: 50}
    assert fits.ledger.category_counts() == {1: 50}


EVENT = {"event": "learning_time"}


def test_a_family_with_an_event_has_probabilities_of_one_byte(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, tmp_path / "without")
    assert open_fits(tmp_path / "without").event is None
    assert open_fits(tmp_path / "without").read().probabilities == {}
    assert open_fits(tmp_path / "without").read().second_event is None

    stored = np.arange(TOKENS).astype("uint8") * 5
    stored[-2:] = 254, 255
    location = locate(tmp_path / "fits", writable=True)
    with writer_lock(location):
        fits = resume_or_create(location, losses, FitHeader(**HEADER | EVENT), Layout(50, 50, 50))
        values = dict.fromkeys(fits.array_names, stored) | {"domain": losses.read_coordinate("domain")}
        values |= {name: np.linspace(0, 1, TOKENS) for name in ("noise_correlation", "effective_points")}
        FitWriter(fits).write(0, values)
    names = {*EVENT_CATEGORIES, "second_event"}
    assert set(fits.array_names) - {*open_fits(tmp_path / "without").array_names} == {*PROBABILITY_ARRAYS.values()}
    assert set(PROBABILITY_ARRAYS) == names
    expected = np.where(stored == 255, np.nan, stored / np.float32(254)).astype("float32")
    got = open_fits(tmp_path / "fits").read(slice(3, None))
    assert (got.noise_correlation.dtype, got.effective_points.dtype) == ("float32", "float32")
    np.testing.assert_allclose(got.noise_correlation, np.linspace(0, 1, TOKENS)[3:], atol=2**-11)
    for likely in (got.second_event, *got.probabilities.values()):
        assert likely.dtype == "float32"
        np.testing.assert_array_equal(likely, expected[3:])
    with xr.open_zarr(tmp_path / "fits") as data:
        for name in PROBABILITY_ARRAYS.values():
            assert data[name].dtype.kind == "f"
            np.testing.assert_allclose(data[name], expected, rtol=1e-6)
        assert data.effective_points.dtype == "float16"
        assert data.status.dtype == "uint8"


def test_the_event_is_a_parameter(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, tmp_path / "fits")
    for wrong in ("midpoint", 3, ["learning_time"]):
        zarr.open_group(tmp_path / "fits", mode="r+").attrs["event"] = wrong
        with pytest.raises(InvalidStoreError, match="attribute event: got"):
            open_fits(tmp_path / "fits")
    zarr.open_group(tmp_path / "fits", mode="r+").attrs["event"] = "learning_time"
    with pytest.raises(InvalidStoreError, match="learned_probability: no such array"):
        open_fits(tmp_path / "fits")


def test_xarray_opens_it_with_coordinates(tmp_path):
    fit_all(make_losses(tmp_path / "losses.zarr"), tmp_path / "fits.zarr")
    with xr.open_zarr(tmp_path / "fits.zarr") as data:
        assert {"step", "domain"} == set(data.coords)
        assert data.learning_time.dims == ("token",)
        assert data.status.dtype == "uint8"
        assert data.attrs["family"] == "sigmoid"


#: Two blocks, of two shards and of one.
SMALL = {"parameters": {"learning_time": "axis"}, "layout": Layout(5, 10, 20)}


def test_a_kill_at_any_write_changes_no_byte(tmp_path, kill_at):
    losses = make_losses(tmp_path / "losses.zarr", num_tokens=28)
    count = kill_at(tmp_path / "whole", 0)
    fit_all(losses, tmp_path / "whole", **SMALL)
    whole, writes = tree(tmp_path / "whole"), count()
    assert writes > 2 * 10 + 10  # both blocks' arrays and records, and the metadata
    for k in range(1, writes + 1):
        path = tmp_path / f"killed{k}"
        kill_at(path, k)
        with pytest.raises(Killed):
            fit_all(losses, path, **SMALL)
        kill_at(path, 0)
        fit_all(losses, path, **SMALL)
        assert tree(path) == whole


def test_a_kill_while_fits_are_replaced_leaves_the_old_or_the_new(tmp_path, kill_at):
    """Until the old ones are gone the store says that they were begun otherwise; none counts as new."""
    losses = make_losses(tmp_path / "losses.zarr", num_tokens=28)
    fit_all(losses, tmp_path / "whole", **SMALL)
    fit_all(losses, tmp_path / "old", **SMALL, options={"max_steps": 1})
    whole, refused = tree(tmp_path / "whole"), []
    for k in range(1, 20):
        path = tmp_path / f"killed{k}"
        shutil.copytree(tmp_path / "old", path)
        kill_at(path, k)
        with pytest.raises(Killed):
            fit_all(losses, path, **SMALL, overwrite=True)
        kill_at(path, 0)
        try:
            fit_all(losses, path, **SMALL)
        except ChangedError:
            refused.append(k)
            fit_all(losses, path, **SMALL, overwrite=True)
        assert tree(path) == whole
    assert refused == list(range(1, len(refused) + 1))
    assert 1 < len(refused) < 19


def test_nothing_half_written_counts(tmp_path, kill_at):
    losses = make_losses(tmp_path / "losses.zarr")
    count = kill_at(tmp_path / "fits", 0)
    fit_all(losses, tmp_path / "fits")
    last_record = count()
    kill_at(tmp_path / "fits2", last_record)
    with pytest.raises(Killed):
        fit_all(losses, tmp_path / "fits2")
    fits = open_fits(tmp_path / "fits2")
    assert not fits.complete
    assert fits.ledger.states.tolist() == [1, 1, 0]
    kill_at(tmp_path / "fits2", 0)
    assert fit_all(losses, tmp_path / "fits2") == 1
    assert fit_all(losses, tmp_path / "fits2") == 0


def test_a_resumed_run_keeps_the_layout_of_the_first(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, tmp_path / "fits")
    assert fit_all(losses, tmp_path / "fits", layout=Layout(5, 5, 5)) == 0
    assert open_fits(tmp_path / "fits").ledger.block_tokens == 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"max_steps": 65, "tolerance": None}}, "options.max_steps: was 64, now 65"),
        ({"scale": "linear"}, "scale: was 'log', now 'linear'"),
        ({"family": "gompertz"}, "family: was 'sigmoid'"),
        ({"dtype": "float64"}, "dtype: was 'float32'"),
        ({"package_version": "9"}, "package_version: was '0.1.0', now '9'"),
    ],
)
def test_other_options_are_refused(changes, words):
    losses, target = make_losses(MemoryStore()), MemoryStore()
    fit_all(losses, target)
    with pytest.raises(ChangedError, match=words) as raised:
        fit_all(losses, target, **changes)
    assert len(raised.value.differences) == 1
    assert "overwrite=True" in str(raised.value)
    assert fit_all(losses, target, overwrite=True, **changes) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "data of tokens 0 to 19"),
        ({"tokens": {"domain": np.zeros(TOKENS, "int8")}}, "data of tokens"),
        ({"checkpoints": {"step": [0, 1, 2, 4]}}, "checkpoint coordinate 'step' of the losses: other values than"),
        ({"checkpoints": {"step": [0, 1, 2, 3], "tokens_seen": [0, 1, 2, 3]}}, "tokens_seen"),
        ({"attributes": {"domains": ["a", "b", "d"]}}, "domains"),
        (
            {"attributes": {"title": "another"}},
            "attributes of the losses .* other than when the fits were",
        ),
        ({"dtype": "float32"}, "input.dtype: was 'float16', now 'float32'"),
    ],
)
def test_other_input_is_refused(changes, words):
    source, target = MemoryStore(), MemoryStore()
    fit_all(make_losses(source), target)
    with pytest.raises(ChangedError, match=words):
        fit_all(make_losses(source, **changes), target)


def test_one_changed_token_in_the_middle_of_a_block_is_seen():
    source, target = MemoryStore(), MemoryStore()
    fit_all(make_losses(source), target)
    zarr.open_group(source)["losses"][30, 2] = 0.5
    with pytest.raises(ChangedError, match="data of tokens 20 to 39"):
        fit_all(open_losses(source), target)


def test_the_same_losses_stored_otherwise_are_the_same_input():
    target = MemoryStore()
    fit_all(make_losses(MemoryStore()), target)
    assert fit_all(make_losses(MemoryStore(), shard_tokens=25), target) == 0


def test_only_fit_stores_are_ever_replaced(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    zarr.create_group(tmp_path / "group")
    for place, words in [
        ("home", "other files"),
        ("file", "is a file"),
        ("group", "not fits"),
        ("losses.zarr", "is the input"),
    ]:
        with pytest.raises(StoreError, match=words):
            refuse_foreign(locate(tmp_path / place, writable=True), losses)
    make_losses(tmp_path / "others.zarr")
    with pytest.raises(StoreError, match="not fits"):
        fit_all(losses, tmp_path / "others.zarr", overwrite=True)


def test_a_coordinate_with_the_name_of_a_result_is_refused():
    losses = make_losses(MemoryStore(), tokens={"status": np.zeros(TOKENS, "int8")})
    with pytest.raises(StoreError, match="status"):
        fit_all(losses, MemoryStore())


def test_a_full_disk_is_named_and_nothing_counts(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    words = r"sharpness', tokens 20 to 39.*No space left.*Free some space"
    with full_disk("sharpness/c/2"), pytest.raises(WriteError, match=words):
        fit_all(losses, tmp_path / "fits")
    assert open_fits(tmp_path / "fits").ledger.states.tolist() == [1, 0, 0]
    assert fit_all(losses, tmp_path / "fits") == 2


def test_every_violation_of_a_fit_store_is_named(tmp_path):
    fit_all(make_losses(tmp_path / "losses.zarr"), tmp_path / "fits")
    group = zarr.open_group(tmp_path / "fits", mode="r+", use_consolidated=False)
    del group["rss"], group["ledger"], group["step"]
    group.attrs["options"] = 3
    with pytest.raises(InvalidStoreError) as raised:
        open_fits(tmp_path / "fits")
    assert {v.where for v in raised.value.violations} == {"rss", "ledger", "step", "attribute options"}


def test_an_unfinished_store_is_noted(tmp_path, kill_at):
    losses = make_losses(tmp_path / "losses.zarr")
    kill_at(tmp_path / "fits", 40)
    with pytest.raises(Killed):
        fit_all(losses, tmp_path / "fits")
    notes = validate(tmp_path / "fits")
    assert [(note.where, note.level) for note in notes] == [("ledger", "note")]
