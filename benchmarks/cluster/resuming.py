"""A store of many blocks, nearly all finished, and the seconds until it is.

    python -m benchmarks resuming [--blocks N] [--workers 1] [--rounds 3] [--out FILE] [--quick]

The store is made of copies of one block, and of a ledger that says so; a few blocks are taken out of it before each
round. A process on one core goes on with it, by itself (``--workers 0``) or with Dask workers on that core. The first
round reads every record, the others the copy of them that it left; the median of these is told. Seconds are those of
`fit_store` from call to return, planning, fitting the few blocks and describing the whole store among them.
"""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from .. import record as results
from .server import Server

#: Tokens of a block, checkpoints, bytes for blocks in flight that make such blocks, and blocks that are left to fit.
_TOKENS, _CHECKPOINTS, _MEMORY, _PENDING = 1024, 8, 2**20, 4
#: Names that a file system gives to one file.
_MOST_LINKS = 30_000


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    parser = results.arguments("resuming", __doc__, quick="a minute: a small store, one round")
    parser.add_argument("--blocks", type=int, default=100_000, help="blocks of the store")
    parser.add_argument("--workers", type=int, default=1, help="Dask workers; 0: the process by itself")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the first")
    parser.add_argument("--folder", help="where the store is made; the system's temporary folder by default")
    options = parser.parse_args(argv)
    if options.quick:
        options.blocks, options.rounds = 2_000, 1
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = resume(Path(folder) / "many", options.blocks, options.workers, options.rounds)
    result = {"benchmark": "resuming", **found, "environment": results.environment()}
    print(table(result))
    return results.finish(result, options.out)


def table(result: dict) -> str:
    """The first round, and the median of the others."""
    first, *others = result["rounds"]
    again = {name: statistics.median(one[name] for one in others) for name in ("seconds", "cpu_seconds")}
    rows = [
        [words, f"{one['seconds']:.1f} s", f"{one['cpu_seconds']:.1f} s"]
        for words, one in (("reading every record", first), ("from the copy of the records", again))
    ]
    loads = sorted(one["load"] for one in result["rounds"])
    said = f"load of the machine {loads[0]:.1f} to {loads[-1]:.1f}"
    head = f"{result['blocks']:,} blocks, all but {result['pending']} finished: go on ({said})"
    return results.table([head, "wall", "CPU"], rows)


def resume(folder: Path, blocks: int, workers: int, rounds: int) -> dict:
    """Make the store, go on with it, with a few blocks taken out of the ledger before each round.

    Args:
        folder: where; it must not be there.
        blocks: how many.
        workers: Dask workers; 0: none.
        rounds: after the first.
    """
    with Server(0, 1) as server:
        server.ask("write_store", folder=str(folder), blocks=blocks)
    runs = []
    with Server(workers, 1) as server:
        for _ in range(1 + rounds):
            for block in range(blocks - _PENDING, blocks):
                (folder / f"fits.zarr/ledger/c.{block}.0").unlink(missing_ok=True)
            begun = time.perf_counter()
            found = server.ask(
                "fit",
                losses=str(folder / "losses.zarr"),
                fits=str(folder / "fits.zarr"),
                memory=_MEMORY,
                keep=True,
            )
            seconds, cpu = time.perf_counter() - begun, found["driver_cpu_seconds"] + found["workers_cpu_seconds"]
            runs.append({"seconds": seconds, "cpu_seconds": cpu, "load": os.getloadavg()[0]})
            assert found["tokens"] == _PENDING * _TOKENS, found
        peaks = server.ask("peaks")
    return {"blocks": blocks, "pending": _PENDING, "workers": workers, "rounds": runs, **peaks}


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
    head = (first / "ledger/c.0.0").read_bytes()
    assert fits.ledger.states[0] == BlockState.FINISHED
    for block in range(1, blocks - _PENDING):
        start = block * _TOKENS
        changed = InputDigest(given.sampled, given.whole, objects_digest(losses, start, start + _TOKENS, objects))
        row = record(block, BlockState.FINISHED, changed, result, values.status, values.category, noted, fitter)
        (first / f"ledger/c.{block}.0").write_bytes(_stored(row))
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
