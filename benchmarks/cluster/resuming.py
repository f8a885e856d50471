"""A store of many blocks, nearly all finished, and the seconds until it is."""

import os
import shutil
import time
from pathlib import Path

import numpy as np

from .server import Server

#: Tokens of a block, checkpoints, bytes for blocks in flight that make such blocks, and blocks that are left to fit.
_TOKENS, _CHECKPOINTS, _MEMORY, _PENDING = 1024, 8, 2**20, 4
#: Names that a file system gives to one file.
_MOST_LINKS = 30_000


def resume(folder: Path, blocks: int) -> dict:
    """Make the store, go on with it twice, with a few blocks taken out of the ledger before each.

    Args:
        folder: where; it must not be there.
        blocks: how many.
    """
    with Server(0, 1) as server:
        server.ask("write_store", folder=str(folder), blocks=blocks)
    seconds, cpu = [], []
    with Server(1, 1) as server:
        for _ in range(2):
            for block in range(blocks - _PENDING, blocks):
                shutil.rmtree(folder / f"fits.zarr/ledger/c/{block}", ignore_errors=True)
            begun = time.perf_counter()
            found = server.ask(
                "fit",
                losses=str(folder / "losses.zarr"),
                fits=str(folder / "fits.zarr"),
                memory=_MEMORY,
                keep=True,
            )
            seconds.append(time.perf_counter() - begun)
            cpu.append(found["driver_cpu_seconds"] + found["workers_cpu_seconds"])
            assert found["tokens"] == _PENDING * _TOKENS, found
        peaks = server.ask("peaks")
    return {
        "blocks": blocks,
        "pending": _PENDING,
        "first_seconds": seconds[0],
        "first_cpu_seconds": cpu[0],
        "again_seconds": seconds[1],
        "again_cpu_seconds": cpu[1],
        **peaks,
    }


def write_store(folder: Path, blocks: int) -> None:
    """Losses that are the same in every block, and fits of which one block was fitted and the others are its copies."""
    from tsl_jax import Sigmoid, fit_store
    from tsl_jax.store import create_losses, open_fits
    from tsl_jax.store.fingerprint import objects_digest
    from tsl_jax.store.ledger import ENTRIES, BlockState, InputDigest, record
    from tsl_jax.store.presence import list_objects

    from ..fitting import problems

    few = problems.sigmoids(0, _TOKENS, _CHECKPOINTS, dtype=np.float16)
    losses = create_losses(
        folder / "losses.zarr",
        np.tile(few.losses, (blocks, 1)),
        checkpoints={"step": few.time},
        chunk_tokens=_TOKENS,
        shard_tokens=1024 * _TOKENS,
    )
    first = folder / "fits.zarr"
    fit_store(losses.location.name, first, Sigmoid(), memory=_MEMORY, part=(0, blocks))  # the first block alone
    fits = open_fits(first)
    assert fits.ledger.block_tokens == _TOKENS, fits.ledger.block_tokens
    objects = list_objects(losses.location.store, losses.location.path)
    given, result = fits.ledger.input(0), fits.ledger.result(0)
    values = fits.read(slice(0, _TOKENS))
    noted = {name: fits.ledger.noted(name) for name in ENTRIES if name in ("learned_rising", "second_events")}
    fitter = int(fits.ledger.fitters[0])
    for name in fits.arrays:
        _repeat(first / name / "c", blocks - _PENDING)
    head = (first / "ledger/c/0/0").read_bytes()
    assert fits.ledger.states[0] == BlockState.FINISHED
    for block in range(1, blocks - _PENDING):
        start = block * _TOKENS
        changed = InputDigest(given.sampled, given.whole, objects_digest(losses, start, start + _TOKENS, objects))
        row = record(block, BlockState.FINISHED, changed, result, values.status, values.category, noted, fitter)
        place = first / f"ledger/c/{block}"
        place.mkdir()
        (place / "0").write_bytes(_stored(row))
    assert _stored(fits.ledger.table[0]) == head


def _stored(row: np.ndarray) -> bytes:
    """A record as the ledger's codec stores it: little-endian, then its CRC-32C."""
    from google_crc32c import value

    raw = row.astype("<i8").tobytes()
    return raw + value(raw).to_bytes(4, "little")


def _repeat(place: Path, blocks: int) -> None:
    """The first chunk of an array as all the others, too."""
    source = place / "0"
    for block in range(1, blocks):
        if block % _MOST_LINKS:
            os.link(source, place / f"{block}")
        else:
            shutil.copyfile(source, place / f"{block}")
            source = place / f"{block}"
