"""Files of a folder, looked at together: what each of them says by itself."""

import pytest
import zarr
from zarr.storage import MemoryStore

from tsl_jax.store import StoreError, local_objects
from tsl_jax.store.local_objects import LocalObjects
from tsl_jax.store.presence import ChunkKeys, each_of, sizes_of


@pytest.fixture(params=["of an open folder", "by whole paths"])
def objects(request, tmp_path, monkeypatch):
    (tmp_path / "c/2").mkdir(parents=True)
    for name, size in (("0", 3), ("1", 0), ("4", 7)):
        (tmp_path / "c" / name).write_bytes(bytes(size))
    (tmp_path / "c/5").symlink_to("5")  # to itself
    if request.param == "by whole paths":
        monkeypatch.setattr(local_objects, "_FOR_LOOKS", None)
    return LocalObjects(tmp_path)


NAMES = ["9", "0", "1", "3", "2", "5", "4", "4/0"]


def test_each_is_what_it_is_by_itself(objects):
    assert each_of(objects, "c", NAMES) == [objects.get(f"c/{name}") for name in NAMES]
    assert [stored and stored.size for stored in each_of(objects, "c", NAMES)] == [
        None,
        3,
        0,
        None,
        None,
        None,
        7,
        None,
    ]
    assert [size for size in sizes_of(objects, "c", NAMES) if size < 100] == [-1, 3, 0, -1, -1, 7, -1]


def test_of_a_folder_that_is_not_there_nothing_is(objects):
    assert each_of(objects, "d", NAMES) == [None] * len(NAMES)
    assert sizes_of(objects, "c/0", NAMES) == [-1] * len(NAMES)


def test_what_cannot_be_looked_at_is_named_with_its_whole_path(objects):
    with pytest.raises(StoreError, match=r"/c/x{300}: cannot be looked at \(OSError: File name too long\)"):
        sizes_of(objects, "c", ["0", "x" * 300, "4"])


@pytest.mark.parametrize("shape", [(30,), (30, 4)])
@pytest.mark.parametrize("name", ["rss", "run-123456789/rss", "c/123456789/c"])
def test_names_in_a_row_are_those_of_keys_whatever_the_path(name, shape):
    array = zarr.create_array(MemoryStore(), name=name, shape=shape, chunks=(10, 4)[: len(shape)], dtype=int)
    folder, names = ChunkKeys(array).in_a_row(["0", "1", "2"])
    assert [f"{folder}/{one}" for one in names] == [key for key, *_ in ChunkKeys(array)(0, 30)]
