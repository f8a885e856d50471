"""Files of a local store: whole or not there, forced to the disk, and under names that tell who writes them."""

import os
import re
import time
from pathlib import Path

import pytest
import zarr
from test_lost_objects import content, replace
from zarr.storage import LocalStore

from tests.kills import dead_name
from tsl_jax.store import local_files, locate
from tsl_jax.store.arrays import WholeWrites, storing_all
from tsl_jax.store.event_loop import wait_for
from tsl_jax.store.lease import LEASE_SECONDS
from tsl_jax.store.local_files import WholeFiles, temporary_name, whole_file, writer_lives, written_file
from tsl_jax.store.own_files import remove_partial_files


@pytest.fixture
def forced(monkeypatch):
    """Names of what was forced to the disk, in order."""
    names = []
    monkeypatch.setattr(os, "fsync", lambda file: names.append(os.readlink(f"/proc/self/fd/{file}")))
    return names


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files")
def test_an_object_is_forced_to_the_disk_with_all_names_that_lead_to_it(tmp_path, forced):
    store = WholeFiles(tmp_path / "new" / "store")
    replace(store, "a/c/0", b"one")
    file = f"{tmp_path}/new/store/a/c/0"
    assert (tmp_path / "new/store/a/c/0").read_bytes() == b"one"
    (written,) = [at for at, name in enumerate(forced) if name.startswith(f"{file}.")]
    folders = {str(tmp_path), *(f"{tmp_path}/new{inside}" for inside in ("", "/store", "/store/a"))}
    assert folders <= set(forced[:written])
    assert forced[written + 1 :] == [f"{tmp_path}/new/store/a/c"]
    del forced[:]
    replace(store, "a/c/1", b"two")
    assert len(forced) == 2
    del forced[:]
    wait_for(store.delete("a/c/1"))
    wait_for(store.delete_dir("a"))
    assert forced == [f"{tmp_path}/new/store/a/c", f"{tmp_path}/new/store"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files")
def test_objects_of_a_block_are_forced_to_the_disk_together(tmp_path, forced):
    store = WholeFiles(tmp_path)
    settled = storing_all(zarr.create_array(store, shape=(6,), chunks=(2,), dtype="int8"), WholeWrites(store))
    del forced[:]
    settled[:] = 1
    assert forced.count(f"{tmp_path}/c") == 0
    settled.store.settle()
    assert sorted(forced[-4:-1]) == [f"{tmp_path}/c/{at}" for at in range(3)]
    assert forced[-1] == f"{tmp_path}/c"
    del forced[:]
    settled.store.settle()
    assert forced == []


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    store = WholeFiles(tmp_path)
    replace(store, "zarr.json", b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(store, "zarr.json", b"new")
    with pytest.raises(TypeError), whole_file(tmp_path / "zarr.json") as file:
        file.write("no bytes")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"zarr.json": b"old"}


def test_folders_that_others_delete_are_made_again(tmp_path):
    one, two = WholeFiles(tmp_path), WholeFiles(tmp_path)
    replace(one, "a/c/0", b"1")
    wait_for(two.delete_dir("a"))
    replace(one, "a/c/1", b"2")
    assert sorted(map(str, wait_for(_keys(one)))) == ["a/c/1"]


async def _keys(store):
    return [key async for key in store.list()]


def test_what_is_there_is_kept_where_that_is_asked(tmp_path):
    store = WholeFiles(tmp_path)
    buffer = zarr.buffer.default_buffer_prototype().buffer
    for data in (b"first", b"second"):
        wait_for(store.set_if_not_exists("lease", buffer.from_bytes(data)))
    assert content(store, "lease") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["lease"]


def test_stores_that_are_written_are_of_this_kind_and_are_the_same_place(tmp_path):
    zarr.create_group(tmp_path / "a")
    for given in (tmp_path / "a", LocalStore(tmp_path / "a"), zarr.open_group(tmp_path / "a")):
        written = locate(given, writable=True).store
        assert isinstance(written, WholeFiles)
        assert written == locate(tmp_path / "a").store == written
    assert written != WholeFiles(tmp_path / "b")


def test_names_tell_who_writes(monkeypatch):
    own = temporary_name("zarr.json")
    assert written_file(own) == "zarr.json"
    assert temporary_name("zarr.json") != own
    assert writer_lives(own)
    assert writer_lives(dead_name("0")) is False
    assert writer_lives("0123456789abcdef0123456789abcdef.partial") is None
    assert written_file("thesis.partial") is None
    machine, process, chance = own.split(".")[2:5]
    other = "0" * 8 if machine != "0" * 8 else "1" * 8
    assert writer_lives(own.replace(machine, other)) is None
    # a process before this one had its number, as the first one of a container has
    assert writer_lives(own.replace(chance[:8], "f" * 8 if chance[:8] != "f" * 8 else "0" * 8)) is False
    monkeypatch.setattr(local_files.os, "kill", _not_allowed)
    assert writer_lives(own.replace(f".{process}.", ".1."))


def _not_allowed(*_):
    raise PermissionError


def test_only_what_dead_writers_left_is_removed(tmp_path):
    (tmp_path / "rss/c").mkdir(parents=True)
    own, dead = (tmp_path / "rss/c" / name for name in (temporary_name("0"), dead_name("0")))
    other = tmp_path / re.sub(r"\.[0-9a-f]{8}\.", ".00000000.", temporary_name("zarr.json"), count=1)
    left = tmp_path / re.sub(r"\.[0-9a-f]{8}\.", ".00000000.", temporary_name("zarr.json"), count=1)
    zarrs, old = tmp_path / f"rss/c/0.{'a' * 32}.partial", tmp_path / f"zarr.{'b' * 32}.partial"
    for file in (own, dead, other, left, zarrs, old):
        file.write_bytes(b"half")
    for file in (left, old, own):
        os.utime(file, times=(time.time() - 2 * LEASE_SECONDS,) * 2)
    remove_partial_files(locate(tmp_path, writable=True))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {own, other, zarrs}
