"""Objects that are lost, empty, cut or damaged are found: in losses refused, in finished fits fitted anew."""

import zipfile

import numpy as np
import obstore.store
import pytest
import zarr
from test_fits import LAYOUT, TOKENS, fit_all, make_losses
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from tests.kills import tree
from tsl_jax.store import (
    ChunkError,
    StoreError,
    create_losses,
    damaged_blocks,
    list_objects,
    open_fits,
    open_losses,
    read_rows,
    read_rows_with_gaps,
    rechunk,
    validate,
)
from tsl_jax.store.damage import _damage
from tsl_jax.store.event_loop import wait_for

KINDS = ("directory", "memory", "objects")


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """A store of each kind that can be written."""
    if request.param == "directory":
        return LocalStore(tmp_path / "store.zarr")
    return MemoryStore() if request.param == "memory" else ObjectStore(obstore.store.MemoryStore())


def remove(store, key):
    wait_for(store.delete(key))


def empty(store, key):
    replace(store, key, b"")


def replace(store, key, data):
    wait_for(store.set(key, default_buffer_prototype().buffer.from_bytes(data)))


def content(store, key):
    return wait_for(store.get(key, default_buffer_prototype())).to_bytes()


def cut(store, key):
    replace(store, key, content(store, key)[:-3])


def flip(store, key):
    data = bytearray(content(store, key))
    data[len(data) // 2] ^= 1
    replace(store, key, bytes(data))


def levels(found):
    return {(violation.where, violation.level) for violation in found if violation.level == "error"}


@pytest.mark.parametrize("damage", [remove, empty])
def test_lost_losses_are_counted_and_refused(place, damage):
    made = make_losses(place)
    damage(place, "losses/c/1/0")
    damage(place, "losses/c/3/0")
    assert levels(validate(place)) == {("losses", "error")}
    said = "not stored" if damage is remove else "not readable"
    assert f"2 chunks are {said}" in validate(place)[0].what
    assert "losses/c/1/0 (tokens 10 to 19), losses/c/3/0 (tokens 30 to 39)" in validate(place)[0].what
    with pytest.raises(ChunkError, match="tokens 10 to 14"):
        open_losses(place).read()
    with pytest.raises(ChunkError, match=r"2 chunks are lost or empty.*losses/c/1/0.*losses/c/3/0"):
        open_losses(place).raise_if_lost(list_objects(place, ""))
    lenient = open_losses(place, missing_chunks="as-nan")
    if damage is empty:
        with pytest.raises(ChunkError, match=r"empty|Error"):
            lenient.read()
        return
    lenient.raise_if_lost(list_objects(place, ""))
    assert np.flatnonzero(np.isnan(lenient.read()).any(axis=1)).tolist() == [*range(10, 20), *range(30, 40)]
    assert made.num_tokens == TOKENS


@pytest.mark.parametrize("damage", [remove, empty])
@pytest.mark.parametrize("name", ["domain", "step"])
def test_a_lost_coordinate_is_never_zeros(place, damage, name):
    make_losses(place)
    damage(place, f"{name}/c/0")
    assert levels(validate(place)) == {(name, "error")}
    for missing in ("refuse", "as-nan"):
        with pytest.raises(StoreError, match=rf"{name}.*(not stored|empty|Error)"):
            open_losses(place, missing_chunks=missing).read_coordinate(name)


@pytest.mark.parametrize("how", ["gone", "renamed key", "all of it gone"])
def test_a_coordinate_whose_metadata_are_damaged_does_not_vanish(place, how):
    make_losses(place)
    text = content(place, "domain/zarr.json")
    remove(place, "domain/zarr.json")
    if how == "renamed key":
        replace(place, "domain/zarr.json", text.replace(b"zarr_format", b"zabr_format"))
    if how == "all of it gone":
        remove(place, "domain/c/0")
    with pytest.raises(StoreError, match=r"domain"):
        open_losses(place)


def test_memory_that_there_is_not_is_no_bad_chunk(monkeypatch):
    losses = make_losses(MemoryStore()).losses

    def greedy(self, rows):
        raise MemoryError

    monkeypatch.setattr(zarr.Array, "__getitem__", greedy)
    for read in (read_rows, read_rows_with_gaps):
        with pytest.raises(StoreError, match=r"rows 3 to 8 ask for more memory than there is.*--memory") as raised:
            read(losses, 3, 9)
        assert isinstance(raised.value, MemoryError)


def test_chunks_of_zeros_that_a_writer_left_out_are_zeros_when_that_is_said():
    store = MemoryStore()
    make_losses(store)
    group = zarr.open_group(store, mode="r+")
    zeros = {"data": np.zeros(TOKENS, "int8"), "dimension_names": ("token",), "overwrite": True}
    group.create_array("domain", chunks=(10,), config={"write_empty_chunks": False}, **zeros)
    with pytest.raises(ChunkError, match="as-fill"):
        open_losses(store).read_coordinate("domain")
    assert not open_losses(store, missing_chunks="as-fill").read_coordinate("domain").any()
    with pytest.raises(ValueError, match="missing_chunks: got 'as-zero', expected one of 'refuse', 'as-nan'"):
        open_losses(store, missing_chunks="as-zero")


def test_a_store_in_a_zip_file_is_looked_at_too(tmp_path):
    make_losses(tmp_path / "losses.zarr")
    for left_out, expected in (("nothing", set()), ("losses/c/2/0", {("losses", "error")})):
        with zipfile.ZipFile(tmp_path / "losses.zip", "w") as archive:
            for key in tree(tmp_path / "losses.zarr"):
                if key != left_out:
                    archive.write(tmp_path / "losses.zarr" / key, key)
        assert levels(validate(tmp_path / "losses.zip")) == expected


def test_a_deep_look_at_losses_reads_all_of_them(place):
    make_losses(place)
    assert validate(place, deep=True) == []
    flip(place, "losses/c/2/0")
    assert validate(place) == []
    (found,) = validate(place, deep=True)
    assert (found.where, found.level) == ("losses", "error")
    assert "losses/c/2/0" in found.what


@pytest.mark.parametrize("damage", [remove, empty, cut])
@pytest.mark.parametrize("name", ["sharpness", "status", "domain"])
def test_lost_fits_are_seen_and_fitted_anew(place, damage, name, tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, place)
    before = {key: content(place, key) for key in list_objects(place, "")}
    damage(place, f"{name}/c/2")
    fits = open_fits(place)
    assert list(damaged_blocks(fits)) == [1]
    assert "tokens 20 to 39 (block 1)" in f"{damaged_blocks(fits)[1]}"
    assert len(levels(validate(place))) == 1
    if damage is not cut or name != "domain":
        with pytest.raises(ChunkError, match=r"--deep"):
            fits.read(), fits.read_coordinate("domain")
    assert fit_all(losses, place) == 1
    assert {key: content(place, key) for key in list_objects(place, "")} == before
    assert validate(place) == []


def test_damage_that_leaves_the_size_is_seen_by_a_deep_look(place, tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, place)
    whole = open_fits(place).read()
    flip(place, "sharpness/c/3")
    assert validate(place) == []
    (found,) = validate(place, deep=True)
    assert "sharpness/c/3" in found.where
    assert "--deep" in found.cure
    assert fit_all(losses, place) == 0
    assert fit_all(losses, place, deep=True) == 1
    assert validate(place, deep=True) == []
    np.testing.assert_array_equal(open_fits(place).read().params["sharpness"], whole.params["sharpness"])


def test_fits_that_were_swapped_are_seen_by_a_deep_look(tmp_path):
    """Both have their checksums: only the ledger knows which is whose."""
    losses, store = make_losses(tmp_path / "losses.zarr"), MemoryStore()
    fit_all(losses, store)
    one, two = content(store, "sharpness/c/1"), content(store, "sharpness/c/3")
    replace(store, "sharpness/c/1", two)
    replace(store, "sharpness/c/3", one)
    assert sorted(damaged_blocks(open_fits(store), deep=True)) == [0, 1]


def test_pending_blocks_are_no_damage(tmp_path):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, tmp_path / "fits", most=1)
    fits = open_fits(tmp_path / "fits")
    assert not damaged_blocks(fits, deep=True)
    read = fits.read()
    assert (read.status == 255).tolist() == [False] * 20 + [True] * 30
    assert levels(validate(tmp_path / "fits", deep=True)) == set()


def test_losses_that_are_all_missing_are_stored_and_whole(tmp_path):
    values = np.full((20, 4), np.nan, "float16")
    create_losses(tmp_path / "a", values, checkpoints={"step": [1, 2, 3, 4]}, chunk_tokens=5, shard_tokens=10)
    assert validate(tmp_path / "a") == []
    assert np.isnan(open_losses(tmp_path / "a").read()).all()
    rechunk(tmp_path / "a", tmp_path / "b", chunk_tokens=4)
    assert validate(tmp_path / "b", deep=True) == []


def test_a_resumed_rechunk_writes_again_what_was_lost(tmp_path):
    make_losses(tmp_path / "source")

    class Stop(Exception):
        pass

    def progress(done, _):
        if done >= 40:
            raise Stop

    layout = {"chunk_tokens": 5, "shard_tokens": 10, "memory": 1}
    with pytest.raises(Stop):
        rechunk(tmp_path / "source", tmp_path / "made", progress=progress, **layout)
    (tmp_path / "made/losses/c/1/0").unlink()
    rechunk(tmp_path / "source", tmp_path / "made", **layout)
    np.testing.assert_array_equal(open_losses(tmp_path / "made").read(), open_losses(tmp_path / "source").read())
    assert validate(tmp_path / "made", deep=True) == []


def test_layout_of_the_tests():
    assert (LAYOUT.shard_tokens, LAYOUT.block_tokens) == (10, 20)


def test_blocks_of_other_sizes_are_those_whose_objects_are_looked_at_one_by_one(place):
    """All sizes at once, and each object of each block in turn: the same blocks, whatever is lost of them."""
    fit_all(make_losses(MemoryStore()), place, layout=LAYOUT)
    fits, rng = open_fits(place), np.random.default_rng(0)
    keys = [key for key in list_objects(place, "") if key.split("/")[0] in fits.arrays and "/c/" in key]
    blocks = np.flatnonzero(fits.ledger.states)
    assert len(blocks) > 2
    for _ in range(8):
        damage = (remove, empty, cut)[rng.integers(3)]
        damage(place, keys.pop(rng.integers(len(keys))))
        objects = list_objects(place, "")
        one_by_one = {int(block) for block in blocks if next(_damage(fits, int(block), objects, False), None)}
        assert set(damaged_blocks(fits)) == one_by_one
        assert one_by_one
        assert set(damaged_blocks(fits, deep=True)) >= one_by_one
