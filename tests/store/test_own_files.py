"""A user's files in an output are kept, and the output refused; only the package's own temporary names are removed."""

import numpy as np
import obstore.store
import pytest
from test_fits import fit_all, make_losses
from test_lost_objects import replace
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from tests.kills import dead_name
from tsl_jax.collection import collect
from tsl_jax.store import StoreError, create_losses, list_objects, locate, open_losses, rechunk, refuse_foreign

FILES = ("thesis.partial", "notes.txt", "figures/1.svg", "0123456789abcdef0123456789abcdef.partial", "losses/mine.npy")
LOSSES = np.ones((4, 3), "float32")


def create(target, **options):
    create_losses(target, LOSSES, checkpoints={"step": [1, 2, 3]}, **options)


def fits(target, **options):
    losses = make_losses(MemoryStore())
    refuse_foreign(locate(target, writable=True), losses, **options)
    fit_all(losses, target, **options)


def rechunked(target):
    rechunk(make_losses(MemoryStore()), target)


def collected(target, **options):
    batches = [{"token_id": np.arange(8).reshape(2, 4)}]
    collect(lambda level, batch: level * batch["token_id"], [(1, 1.0), (2, 0.5)], batches, target, **options)


WRITERS = {"create_losses": create, "fits": fits, "rechunk": rechunked, "collect": collected}


def put(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("precious")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_with_a_users_file_is_refused_and_nothing_in_it_touched(writer, file, tmp_path):
    put(tmp_path / "out", file)
    with pytest.raises(StoreError, match=rf"holds other files \({file}\), which are kept; nothing was written"):
        WRITERS[writer](tmp_path / "out")
    assert [str(found.relative_to(tmp_path / "out")) for found in (tmp_path / "out").rglob("*.*")] == [file]
    assert (tmp_path / "out" / file).read_text() == "precious"


@pytest.mark.parametrize("writer", ["create_losses", "fits"])
def test_a_store_is_not_replaced_with_a_users_file_in_it(writer, tmp_path):
    WRITERS[writer](tmp_path / "out")
    put(tmp_path / "out", "step/notes.txt")
    before = list_objects(LocalStore(tmp_path / "out"), "")
    with pytest.raises(StoreError, match=r"holds other files \(step/notes.txt\)"):
        WRITERS[writer](tmp_path / "out", overwrite=True)
    assert list_objects(LocalStore(tmp_path / "out"), "").keys() == before.keys()
    (tmp_path / "out/step/notes.txt").unlink()
    WRITERS[writer](tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_objects_of_others_below_a_prefix_are_refused(writer):
    store = ObjectStore(obstore.store.MemoryStore())
    replace(store, "notes.txt", b"precious")
    with pytest.raises(StoreError, match=r"holds other files \(notes.txt\)"):
        WRITERS[writer](store)
    assert list(list_objects(store, "")) == ["notes.txt"]


def test_a_users_file_beside_fits_that_are_gone_on_with_is_kept(tmp_path):
    losses = make_losses(tmp_path / "losses")
    fit_all(losses, tmp_path / "fits", most=1)
    for name in ("thesis.partial", "sharpness/c/old.partial"):
        put(tmp_path / "fits", name)
    half = [tmp_path / f"fits/{dead_name(name)}" for name in ("zarr.json", "status/c/2", "ledger/c.0.0")]
    for file in half:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    assert fit_all(losses, tmp_path / "fits") == 2
    assert (tmp_path / "fits/thesis.partial").exists()
    assert (tmp_path / "fits/sharpness/c/old.partial").exists()
    assert not any(file.exists() for file in half)


def test_a_folder_that_holds_nothing_is_an_output(tmp_path):
    for writer in WRITERS:
        (tmp_path / writer / "empty").mkdir(parents=True)
        WRITERS[writer](tmp_path / writer)
    assert open_losses(tmp_path / "rechunk").num_tokens == 50
