"""Objects that are made without Zarr have its bytes."""

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.storage import MemoryStore

from tsl_jax.store.arrays import create_array, storing_all, zstd
from tsl_jax.store.whole_objects import WholeObjects

ROWS = 100
DTYPES = ("float16", "float32", "float64", "int32", "uint8", "int8", "int64", "bool")


def made(dtype, chunk, shard, **options):
    fill = np.nan if np.dtype(dtype).kind == "f" else np.asarray(1).astype(dtype)
    shards = None if shard is None else (shard,)
    arguments = {"shape": (ROWS,), "dtype": dtype, "chunks": (chunk,), "shards": shards, "fill_value": fill} | options
    return storing_all(create_array(zarr.create_group(MemoryStore()), "values", **arguments))


def values(dtype, rows):
    return (np.random.default_rng(rows).normal(50, 20, rows)).astype(dtype)


def content(array):
    return {key: value.to_bytes() for key, value in array.store._store_dict.items() if "/c/" in key}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("chunk", "shard"), [(10, None), (32, None), (100, None), (8, 32), (32, 32), (16, 112)])
@pytest.mark.parametrize("kind", ["numbers", "fill value"])
def test_they_have_the_bytes_of_zarr(dtype, chunk, shard, kind):
    array, stored = made(dtype, chunk, shard), shard or chunk
    column = values(dtype, ROWS) if kind == "numbers" else np.full(ROWS, array.fill_value, dtype)
    array[:] = column
    objects = WholeObjects.of(array)
    assert {key: b"".join(pieces) for key, pieces in objects.made(0, column)} == content(array)
    half = stored * (ROWS // stored // 2)
    some = [key for key, _ in objects.made(half, column[half:])]
    assert some == [f"values/c/{place}" for place in range(half // stored, -(-ROWS // stored))]


@pytest.mark.parametrize(("start", "stop"), [(1, 100), (0, 50), (32, 65)])
def test_parts_of_objects_are_left_to_zarr(start, stop):
    assert WholeObjects.of(made("float32", 8, 32)).made(start, np.zeros(stop - start, "float32")) is None


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": [ZstdCodec(level=1, checksum=True), Crc32cCodec()]},
        {"compressors": [ZstdCodec(level=1)]},
        {"compressors": [GzipCodec(), Crc32cCodec()]},
        {"compressors": [BloscCodec(), Crc32cCodec()]},
        {"serializer": BytesCodec(endian="big")},
        {"shape": (ROWS, 2), "chunks": (8, 2)},
        {"shards": (32,), "compressors": [GzipCodec(), Crc32cCodec()]},
    ],
)
def test_arrays_of_other_kinds_are_left_to_zarr(options):
    assert WholeObjects.of(made("float32", 8, None, **options)) is None


def test_levels_are_those_of_the_array():
    array = made("float32", ROWS, None, compressors=[ZstdCodec(level=7), Crc32cCodec()])
    array[:] = column = values("float32", ROWS)
    [(_, pieces)] = WholeObjects.of(array).made(0, column)
    assert [b"".join(pieces)] == list(content(array).values())


def test_digits_of_floating_point_numbers_are_hardly_compressed():
    level = {dtype: zstd(np.dtype(dtype))[0].level for dtype in DTYPES}
    assert level == {dtype: -7 if dtype.startswith("float") else 1 for dtype in DTYPES}
