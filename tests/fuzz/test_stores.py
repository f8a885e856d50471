"""Stores damaged at random: whatever is read is right, or an error of the package says why not; and fits are mended.

`make fuzz` tries thousands of cases from seeds that it prints; ``TSL_FUZZ_SEED=n TSL_FUZZ=cases`` tries them again.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from damage import copied, damage_a_document, damage_a_file, files_of

from tests.refusals import refuse
from tests.store.test_fits import fit_all, make_losses
from tsl_jax.store import StoreError, open_fits, open_losses, rechunk, validate

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Losses and their fits, undamaged."""
    place = tmp_path_factory.mktemp("whole")
    fit_all(make_losses(place / "losses"), place / "fits")
    return place


def content(store):
    """All that a store says of tokens and checkpoints, as bytes by name."""
    arrays = {**store.checkpoint_coordinates}
    arrays |= {name: store.read_coordinate(name) for name in store.token_coordinates}
    if hasattr(store, "losses"):
        arrays["losses"] = store.read()
    else:
        arrays |= {name: store.read_array(store.arrays[name], 0, store.num_tokens) for name in store.array_names}
    return {name: (str(values.dtype), values.tobytes()) for name, values in arrays.items()}


def tried(act):
    """What an act returns, or None if the package said why it cannot."""
    try:
        return act()
    except StoreError:
        return None


@pytest.mark.parametrize("kind", ["losses", "fits"])
def test_what_is_read_of_a_damaged_file_is_right(kind, whole, tmp_path, choice, cases):
    opened = {"losses": open_losses, "fits": open_fits}[kind]
    right = content(opened(whole / kind))
    for _ in range(cases):
        store = copied(whole / kind, tmp_path / "store")
        done = damage_a_file(store, choice)
        found = tried(lambda store=store: content(opened(store)))
        # swapped chunks have their checksums: of fits the ledger knows, of losses nobody
        assert found in (None, right) or "swap" in str(done), done
        tried(lambda store=store: validate(store, deep=True))


def test_damaged_fits_are_mended_or_refused_and_begun_anew(whole, tmp_path, choice, cases):
    losses, right = open_losses(whole / "losses"), content(open_fits(whole / "fits"))
    files = {name: file.read_bytes() for name, file in files_of(whole / "fits").items()}
    for _ in range(cases):
        store = copied(whole / "fits", tmp_path / "store")
        done = damage_a_file(store, choice)
        if tried(lambda store=store: fit_all(losses, store, deep=True)) is None:
            fit_all(losses, store, overwrite=True)
            assert {name: file.read_bytes() for name, file in files_of(store).items()} == files, done
        elif "zarr.json" not in done[0] and "/c" in done[0] and not done[0].startswith("step"):
            assert content(open_fits(store)) == right, done
        assert tried(lambda store=store: content(open_fits(store))) in (None, right), done


@pytest.mark.parametrize("kind", ["losses", "fits"])
def test_what_the_system_refuses_to_show_is_never_taken_for_absent(kind, whole, choice, cases, monkeypatch):
    opened = {"losses": open_losses, "fits": open_fits}[kind]
    right, losses = content(opened(whole / kind)), open_losses(whole / "losses")
    files = [file for file in files_of(whole / kind).values() if file.name not in ("run", "snapshot")]
    places = sorted({*files, *(file.parent for file in files)})
    for _ in range(cases):
        place, number = choice.choice(places), choice.choice((errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE))
        with monkeypatch.context() as patched:
            refuse(patched, place, number)
            assert tried(lambda: content(opened(whole / kind))) in (None, right), place
            found = tried(lambda: validate(whole / kind, deep=True))
            assert found is None or any(violation.level == "error" for violation in found), place
            if kind == "fits":
                assert tried(lambda: fit_all(losses, whole / "fits", deep=True)) != 0, (
                    place
                )  # a lost record is made anew
        assert content(opened(whole / kind)) == right, place


@pytest.mark.parametrize("kind", ["losses", "fits"])
def test_documents_with_odd_values_are_errors_of_the_package(kind, whole, tmp_path, choice, cases):
    opened = {"losses": open_losses, "fits": open_fits}[kind]
    for _ in range(cases):
        store = copied(whole / kind, tmp_path / "store")
        done = damage_a_document(store, choice)
        print(done)
        tried(lambda store=store: content(opened(store)))
        tried(lambda store=store: validate(store, deep=True))
        if kind == "losses":
            tried(lambda store=store: fit_all(open_losses(store), tmp_path / "out", overwrite=True))
            tried(lambda store=store: rechunk(store, copied(tmp_path, tmp_path.with_suffix(".new")) / "made"))
        else:
            losses = open_losses(whole / "losses")
            if tried(lambda store=store, losses=losses: fit_all(losses, store)) is None:
                if "tsl_kind" in str(done) or (done[1][0] == "attributes" and len(done[1]) == 1):
                    continue  # what no longer says that it is of fits is never replaced
                fit_all(losses, store, overwrite=True)
                assert content(open_fits(store)) == content(open_fits(whole / "fits")), done


READ = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import random
from damage import copied, damage_a_document
from tsl_jax.stream.reading import BlockReader
from tsl_jax.stream.plan import blocks_of
from tsl_jax.store import StoreError, open_losses
choice = random.Random(int(sys.argv[4]))
for case in range(int(sys.argv[5])):
    store = copied(Path(sys.argv[2]), Path(sys.argv[3]))
    print(case, damage_a_document(store, choice), flush=True)
    try:
        losses = open_losses(store)
        reader = BlockReader(losses, lambda rows: rows)
        for block in blocks_of(losses.num_tokens, losses.shard_tokens or losses.chunk_tokens):
            reader(block)
    except StoreError:
        continue
"""


def test_no_document_ends_the_process(whole, tmp_path, seed, cases):
    """Codecs in C and Rust read what the documents say; in a process of its own, which has to end by itself."""
    arguments = [Path(__file__).parent, whole / "losses", tmp_path / "store", seed, cases]
    command = [sys.executable, "-c", READ, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"RUST_BACKTRACE": "0"})
    assert found.returncode == 0, found.stdout[-300:] + found.stderr[-2000:]


def test_losses_that_changed_anywhere_are_refused(whole, tmp_path, choice, cases):
    import zarr

    from tsl_jax.store import ChangedError, list_objects

    for _ in range(cases):
        losses, fits = copied(whole / "losses", tmp_path / "losses"), copied(whole / "fits", tmp_path / "fits")
        array = zarr.open_group(losses, mode="r+")[choice.choice(["losses", "domain"])]
        at = choice.randrange(array.shape[0])
        array[at] = np.where(array[at] == 3, 4, 3)
        opened = open_losses(losses)
        with pytest.raises(ChangedError, match="changed after they were fitted"):
            fit_all(opened, fits, objects=list_objects(opened.location.store, ""))
