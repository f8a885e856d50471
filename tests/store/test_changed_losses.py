"""Losses that changed after they were fitted are refused, wherever they changed; copies of them are not read twice."""

import os
import shutil

import numpy as np
import obstore.store
import pytest
import zarr
from test_fits import fit_all, make_losses
from zarr.storage import LocalStore, MemoryStore, ObjectStore

import tsl_jax.store.fingerprint
from tsl_jax.store import ChangedError, Layout, list_objects, open_losses
from tsl_jax.store.checksum import crc32c
from tsl_jax.store.fingerprint import sampled_rows
from tsl_jax.store.rechunking import rechunk

#: One block of 40 tokens in 8 chunks: three of them are sampled.
LAYOUT = Layout(chunk_tokens=5, shard_tokens=10, block_tokens=40)
NOT_SAMPLED = slice(5, 10)


@pytest.fixture(params=["directory", "memory", "objects"])
def place(request, tmp_path):
    """A store of each kind that can be written."""
    if request.param == "directory":
        return LocalStore(tmp_path / "losses.zarr")
    return MemoryStore() if request.param == "memory" else ObjectStore(obstore.store.MemoryStore())


def change(store, name, rows=NOT_SAMPLED):
    array = zarr.open_group(store, mode="r+")[name]
    array[rows] = array[rows][::-1].copy()


def test_the_rows_of_these_tests_are_not_sampled():
    losses = make_losses(MemoryStore())
    assert all(stop <= NOT_SAMPLED.start or start >= NOT_SAMPLED.stop for start, stop in sampled_rows(losses, 0, 40))


@pytest.mark.parametrize("name", ["losses", "domain"])
@pytest.mark.parametrize("most", [1, None])  # to be gone on with, and finished
def test_a_change_that_no_sample_covers_is_refused(place, name, most, tmp_path):
    fit_all(make_losses(place), tmp_path / "fits", layout=LAYOUT, most=most)
    change(place, name)
    losses = open_losses(place)
    with pytest.raises(ChangedError, match="data of tokens 0 to 39: changed after they were fitted"):
        fit_all(losses, tmp_path / "fits", layout=LAYOUT, objects=list_objects(place, ""))
    change(place, name)  # as it was
    assert fit_all(open_losses(place), tmp_path / "fits", layout=LAYOUT, objects=list_objects(place, "")) == bool(most)


def test_a_change_is_seen_though_the_times_of_its_file_are_set_back(tmp_path):
    file = tmp_path / "losses.zarr/losses/c/0/0"
    losses = make_losses(tmp_path / "losses.zarr")
    given = {"layout": LAYOUT, "objects": list_objects(losses.location.store, "")}
    fit_all(losses, tmp_path / "fits", **given)
    seen = file.stat()
    change(tmp_path / "losses.zarr", "losses")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    with pytest.raises(ChangedError):
        fit_all(losses, tmp_path / "fits", layout=LAYOUT, objects=list_objects(losses.location.store, ""))


def test_only_losses_whose_files_are_others_are_read_again(tmp_path, monkeypatch):
    read = []

    def counting(arrays):
        read.append(1)
        return crc32c(arrays)

    losses = make_losses(tmp_path / "losses.zarr")
    objects = list_objects(losses.location.store, "")
    fit_all(losses, tmp_path / "fits", layout=LAYOUT, objects=objects)
    monkeypatch.setattr(tsl_jax.store.fingerprint, "crc32c", counting)
    assert fit_all(losses, tmp_path / "fits", layout=LAYOUT, objects=objects) == 0
    assert not read
    shutil.copytree(tmp_path / "losses.zarr", tmp_path / "copy")
    copy = open_losses(tmp_path / "copy")
    assert fit_all(copy, tmp_path / "fits", layout=LAYOUT, objects=list_objects(copy.location.store, "")) == 0
    assert len(read) == 2


@pytest.mark.parametrize(("chunk", "shard"), [(4, 20), (8, 40), (7, 7)])
def test_another_layout_of_the_same_losses_is_the_same_input(tmp_path, chunk, shard):
    losses = make_losses(tmp_path / "losses.zarr")
    fit_all(losses, tmp_path / "fits", layout=LAYOUT, objects=list_objects(losses.location.store, ""))
    rechunked = rechunk(tmp_path / "losses.zarr", tmp_path / "other.zarr", chunk_tokens=chunk, shard_tokens=shard)
    assert sampled_rows(rechunked, 0, 40) != sampled_rows(losses, 0, 40)
    assert fit_all(rechunked, tmp_path / "fits", layout=LAYOUT, objects=list_objects(rechunked.location.store, "")) == 0
    change(tmp_path / "other.zarr", "losses")
    with pytest.raises(ChangedError, match="data of tokens 0 to 39: changed after they were fitted"):
        fit_all(open_losses(tmp_path / "other.zarr"), tmp_path / "fits", layout=LAYOUT)


def test_the_checksum_is_that_of_the_bytes_in_row_order():
    values = np.arange(12, dtype="int16").reshape(3, 4)
    whole = crc32c([values])
    assert crc32c([values[:1], values[1:]]) == whole
    assert crc32c([np.asfortranarray(values), values[:0]]) == whole
    assert crc32c([values.astype(">i2")]) == whole
    assert crc32c([np.frombuffer(b"123456789", "uint8")]) == 0xE3069283  # as published with the polynomial
    assert crc32c([]) == 0
