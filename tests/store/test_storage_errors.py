"""What a store itself raises comes out as an error with place and cure; what it does not raise stays as it is."""

import errno

import numpy as np
import pytest
from zarr.storage import ObjectStore

from tests.kills import Killed
from tsl_jax.store import (
    ChunkError,
    LockedError,
    StoreError,
    WriteError,
    create_losses,
    locate,
    open_fits,
    open_losses,
    validate,
    writer_lock,
)
from tsl_jax.store.errors import storage_errors, writing
from tsl_jax.store.local_files import WholeFiles

obstore = pytest.importorskip("obstore")
exceptions = pytest.importorskip("obstore.exceptions")

VALUES = np.arange(1, 41, dtype="float32").reshape(10, 4)


def memory():
    return ObjectStore(obstore.store.MemoryStore())


def write(store):
    return create_losses(store, VALUES, checkpoints={"step": [1, 2, 3, 4]}, chunk_tokens=5, shard_tokens=5)


@pytest.fixture
def unreachable():
    """An object store behind a port of this machine at which nobody listens."""
    return ObjectStore(
        obstore.store.S3Store(
            "bucket",
            endpoint="http://127.0.0.1:9",
            access_key_id="a",
            secret_access_key="b",
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
    )


@pytest.mark.parametrize("act", [open_losses, open_fits, validate, write])
def test_a_store_that_cannot_be_reached_is_named(act, unreachable):
    with pytest.raises(StoreError, match=r"bucket.*cannot be opened \(GenericError.*Check the path.*connection"):
        act(unreachable)


def test_a_lease_that_cannot_be_written_is_named(unreachable):
    with (
        pytest.raises(WriteError, match="could not write the lease ledger/lease: GenericError"),
        writer_lock(locate(unreachable, writable=True)),
    ):
        pass


def failing(monkeypatch, name, error, inside=""):
    """Makes an operation of object stores fail for keys with ``inside`` in them."""
    real = getattr(ObjectStore, name)

    async def fail(self, key, *args, **kwargs):
        if inside in key:
            raise error
        return await real(self, key, *args, **kwargs)

    monkeypatch.setattr(ObjectStore, name, fail)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.GenericError("503 slow down\n\nDebug source:\nGeneric { pages }"), "connection"),
        (exceptions.PermissionDeniedError("no"), "Get the right to write there"),
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "Get the right to write there"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "give another place"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), "Move the file"),
    ],
)
def test_a_failed_write_says_what_to_do(error, words, monkeypatch):
    store = memory()
    failing(monkeypatch, "set", error, "losses/c/1")
    with pytest.raises(WriteError, match=rf"could not write the loss store: {type(error).__name__}.*{words}") as raised:
        write(store)
    assert raised.value.__cause__ is error
    assert isinstance(raised.value, OSError)
    assert "Debug source" not in str(raised.value)
    assert "overwrite=True" in str(raised.value)


def test_a_failed_read_is_a_bad_chunk(monkeypatch):
    losses = write(memory())
    failing(monkeypatch, "get", exceptions.GenericError("connection lost"), "losses/c/1")
    with pytest.raises(ChunkError, match=r"chunk losses/c/1/0, tokens 5 to 9: GenericError: connection lost"):
        losses.read()
    np.testing.assert_array_equal(losses.read(slice(0, 5)), VALUES[:5])


def test_a_lease_that_cannot_be_deleted_does_not_hide_the_error(monkeypatch):
    location = locate(memory(), writable=True)
    failing(monkeypatch, "delete", exceptions.GenericError("connection lost"))
    with pytest.raises(ZeroDivisionError), writer_lock(location):
        _ = 1 / 0


def test_a_damaged_lease_is_named():
    location = locate(memory(), writable=True)
    obstore.put(location.store.store, "ledger/lease", b"{half")
    with pytest.raises(StoreError, match=r"ledger/lease is damaged.*delete"), writer_lock(location):
        pass


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WriteError, match=r"could not write the lock ledger/\.lock.*Move the file that is in the way"),
        writer_lock(locate(tmp_path / "file" / "fits.zarr", writable=True)),
    ):
        pass


@pytest.mark.parametrize("error", [Killed(), KeyError("a bug"), KeyboardInterrupt(), LockedError("another run")])
def test_what_no_store_raises_stays_as_it_is(error):
    with pytest.raises(type(error)) as raised, writing("store", "something"):
        raise error
    assert raised.value is error


def test_nothing_is_imported_to_know_the_errors(monkeypatch):
    assert storage_errors() == (OSError, exceptions.BaseError)
    monkeypatch.delitem(__import__("sys").modules, "obstore.exceptions")
    assert storage_errors() == (OSError,)


def test_a_directory_that_refuses_writes_is_named(tmp_path, monkeypatch):
    async def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(WholeFiles, "set", refuse)
    with pytest.raises(WriteError, match=r"losses\.zarr.*PermissionError.*Get the right to write there"):
        write(tmp_path / "losses.zarr")
