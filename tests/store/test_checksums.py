"""Every array that the package writes carries a checksum: no flipped bit of it passes unseen."""

import random
from pathlib import Path

import numpy as np
import pytest
import zarr
from test_fits import fit_all, make_losses
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.storage import MemoryStore

from tsl_jax.collection import collect
from tsl_jax.store import StoreError, open_fits, open_losses, rechunk, validate
from tsl_jax.store.arrays import has_checksum

SEED = 7
UNCHECKED_INDEX = ShardingCodec(chunk_shape=(4,), codecs=(BytesCodec(), Crc32cCodec()), index_codecs=(BytesCodec(),))


def everything(store):
    """All that a store says of its tokens and checkpoints."""
    return [store.read() if hasattr(store, "losses") else vars(store.read()), *coordinates(store)]


def coordinates(store):
    return [store.checkpoint_coordinates, {name: store.read_coordinate(name) for name in store.token_coordinates}]


def same(one, other):
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return all(map(same, one, other))
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def written_by(kind, place):
    losses = make_losses(place if kind == "create" else MemoryStore())
    if kind == "rechunk":
        rechunk(losses, place, chunk_tokens=10)
    elif kind == "fit":
        fit_all(losses, place)
    return open_fits if kind == "fit" else open_losses


@pytest.mark.parametrize("kind", ["create", "rechunk", "fit"])
def test_no_flipped_bit_of_a_chunk_passes(kind, tmp_path):
    print("seed", SEED)
    opened, choice = written_by(kind, tmp_path / "store"), random.Random(SEED)
    assert all(has_checksum(array) for _, array in zarr.open_group(tmp_path / "store", mode="r").arrays())
    whole = everything(opened(tmp_path / "store"))
    files = [file for file in (tmp_path / "store").rglob("*") if file.is_file() and "c" in file.parts]
    for file in files:
        good = file.read_bytes()
        for at in choice.sample(range(8 * len(good)), 3):
            data = bytearray(good)
            data[at // 8] ^= 1 << at % 8
            file.write_bytes(bytes(data))
            try:
                assert same(everything(opened(tmp_path / "store")), whole), (file, at)
            except StoreError:
                continue  # seen
        file.write_bytes(good)


def test_every_bit_of_an_axis_is_checked(tmp_path):
    make_losses(tmp_path / "store")
    file = tmp_path / "store/step/c/0"
    good = file.read_bytes()
    for at in range(8 * len(good)):
        data = bytearray(good)
        data[at // 8] ^= 1 << at % 8
        file.write_bytes(bytes(data))
        with pytest.raises(StoreError):
            open_losses(tmp_path / "store")


def test_arrays_of_a_collection_have_checksums(tmp_path):
    batches = [{"token_id": np.arange(8).reshape(2, 4)}]

    def checkpoints():
        yield 1, 1.0
        found = [Path(file).parent for file in (tmp_path / "made/collecting/columns").glob("*/zarr.json")]
        assert {file.name for file in found} >= {"losses", "ledger", "batches", "token_id"}
        assert all(has_checksum(zarr.open_array(file, mode="r")) for file in found)
        yield 2, 0.5

    collect(lambda level, batch: level * batch["token_id"], checkpoints(), batches, tmp_path / "made", dtype="float32")
    assert validate(tmp_path / "made", deep=True) == []


def test_arrays_without_a_checksum_are_named():
    store = MemoryStore()
    group = zarr.create_group(store, attributes={"tsl_kind": "losses", "tsl_version": 1})
    dimensions = ("token", "checkpoint")
    group.create_array("losses", data=np.ones((4, 2), "f4"), fill_value=np.nan, dimension_names=dimensions)
    group.create_array("step", data=np.array([1, 2]), dimension_names=("checkpoint",), compressors=[Crc32cCodec()])
    group.create_array("domain", data=np.arange(4), dimension_names=("token",))
    (note,) = validate(store)
    assert (note.where, note.level) == ("domain, losses", "note")
    assert "no checksum" in note.what


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"compressors": None}, False),
        ({"compressors": [ZstdCodec()]}, False),
        ({"compressors": [ZstdCodec(checksum=True)]}, True),
        ({"compressors": [Crc32cCodec()]}, True),
        ({"shards": (8,), "compressors": [Crc32cCodec()]}, True),
        ({"shards": (8,), "compressors": None}, False),
        ({"chunks": (8,), "serializer": UNCHECKED_INDEX, "compressors": None}, False),
    ],
)
def test_which_codecs_are_checksums(options, known):
    array = zarr.create_array(MemoryStore(), **({"shape": (16,), "dtype": "f4", "chunks": (4,)} | options))
    assert has_checksum(array) == known
