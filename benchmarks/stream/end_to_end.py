"""End to end against the kernel alone and reading alone, on the same stores of several layouts.

    python -m benchmarks stream [--tokens N] [--checkpoints 64] [--out FILE] [--quick]

Each layout (noisy sigmoids, float16; bytes of losses in a chunk and in a shard) is written once and worked on in a
process of its own, on all devices (a CPU has one a core, as for the commands): reading alone, as `fit_store` reads,
without fitting; the kernel alone, on blocks that lie in memory; and `fit_store`, compiling apart. The rate should be
that of the slower of the first two; the stages' seconds say which one it is. Files have just been written, so that
reading is from the page cache. Peak memory is that of the process after it has compiled and fitted the store once.

CPU time beyond the fit is that of the process in `fit_store` less that of the kernel alone, a token; of the whole job,
with what is done once, so that small stores show more. It hardly depends on how busy the machine is.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import record
from .memory import peak_bytes
from .stores import write_sigmoids

#: KiB of losses in a chunk and in a shard; the second is the default of `create_losses`, the last has no shards.
LAYOUTS = {
    "256 KiB in 32 MiB": (256, 32 * 1024),
    "1 MiB in 32 MiB": (1024, 32 * 1024),
    "4 MiB in 32 MiB": (4096, 32 * 1024),
    "1 MiB in 8 MiB": (1024, 8 * 1024),
    "1 MiB, no shards": (1024, 1024),
}


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    if options.worker:
        print(json.dumps(_work(Path(options.worker), options.repeats)))
        return {}
    # All stores stay until the end: see `without_fits._work`.
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        entries = [_measure(layout, tempfile.mkdtemp(dir=folder), options) for layout in options.layouts]
    result = {
        "benchmark": "stream",
        "tokens": options.tokens,
        "checkpoints": options.checkpoints,
        "environment": record.environment(),
        "layouts": entries,
    }
    print(table(result))
    print(f"\n{options.tokens:,} tokens, {options.checkpoints} checkpoints, float16. ", end="")
    return record.finish(result, options.out)


def _measure(layout: str, folder: str, options: argparse.Namespace) -> dict:
    chunk, shard = (2**10 * kib for kib in LAYOUTS[layout])
    write_sigmoids(Path(folder) / "losses.zarr", options.tokens, options.checkpoints, chunk, shard)
    command = [sys.executable, "-m", "benchmarks", "stream", "--worker", folder, "--repeats", str(options.repeats)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
    return {"layout": layout} | json.loads(done.stdout)


def _work(folder: Path, repeats: int) -> dict:
    """All rates of one store, in this process, which does nothing else.

    Rounds of reading, kernel and both, one after the other; shares are medians over rounds, so that a machine that is
    slower for a while slows all three.
    """
    import jax
    import numpy as np

    from tsl_jax import FitOptions, Sigmoid, fit_store
    from tsl_jax.jobs.fit.fitter import BlockFitter
    from tsl_jax.store import open_fits, open_losses
    from tsl_jax.stream import ahead, blocks_of
    from tsl_jax.stream.cores import share_out_the_cores
    from tsl_jax.stream.reading import BlockReader

    share_out_the_cores()
    source, family = open_losses(folder / "losses.zarr"), Sigmoid()
    fit_store(folder / "losses.zarr", folder / "first.zarr", family)  # compiles
    first_peak = peak_bytes()
    blocks = blocks_of(source.num_tokens, open_fits(folder / "first.zarr").ledger.block_tokens)
    fitter = BlockFitter(family, source.axis(), source.losses.dtype, FitOptions(), jax.local_devices())
    fitter.compile(blocks[0].stop, source.num_tokens)
    losses = fitter.put(source.read(slice(blocks[0].start, blocks[0].stop)))

    def read() -> None:
        with ThreadPoolExecutor(ahead.READERS) as readers:
            for _ in ahead.read_ahead(readers, BlockReader(source, np.asarray), blocks):
                pass

    def fit() -> None:
        jax.block_until_ready([fitter(losses) for _ in blocks])

    rounds = []
    for turn in range(repeats):
        (reading, _), (kernel, fitting) = _seconds(read), _seconds(fit)
        begun = time.process_time()
        summary = fit_store(folder / "losses.zarr", folder / f"fits{turn}.zarr", family)
        beyond = time.process_time() - begun - fitting
        both = summary.wall_seconds - summary.compile_seconds
        # Padding is fitted, too.
        rates = (source.num_tokens / reading, len(blocks) * len(losses) / kernel, source.num_tokens / both)
        rounds.append((*rates, rates[2] / min(rates[:2]), beyond / source.num_tokens))
    middle = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return {
        "blocks": len(blocks),
        "block_tokens": blocks[0].stop,
        "read_per_second": middle[0],
        "read_bytes_per_second": middle[0] * source.num_checkpoints * source.losses.dtype.itemsize,
        "stored_bytes": source.losses.nbytes_stored(),
        "kernel_per_second": middle[1],
        "end_to_end_per_second": middle[2],
        "fraction_of_slower": middle[3],
        "cpu_beyond_the_fit": middle[4],
        "rounds": rounds,
        "stages": summary.as_dict()["stages"],
        "limited_by": summary.stages.limit,
        "with_zarrs": importlib.util.find_spec("zarrs") is not None,
        "peak_memory_bytes": first_peak,
    }


def _seconds(run: Callable[[], None]) -> tuple[float, float]:
    """On the clock, and of this process on all processors."""
    begun, worked = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - begun, time.process_time() - worked


def table(result: dict) -> str:
    """One row a layout."""
    rows = []
    for entry in result["layouts"]:
        rows.append(
            [
                entry["layout"],
                f"{entry['read_per_second']:,.0f}",
                f"{entry['kernel_per_second']:,.0f}",
                f"{entry['end_to_end_per_second']:,.0f}",
                f"{100 * entry['fraction_of_slower']:.0f}%",
                f"{1e6 * entry['cpu_beyond_the_fit']:.2f} µs",
                entry["limited_by"],
                f"{entry['peak_memory_bytes'] / 2**20:,.0f} MiB",
            ]
        )
    head = [
        "chunks in shards",
        "read alone, tokens/s",
        "kernel alone",
        "end to end",
        "of the slower",
        "CPU beyond the fit",
        "limit",
        "memory",
    ]
    return record.table(head, rows)


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("stream", __doc__, quick="half a minute: one small store")
    parser.add_argument("--tokens", type=int, default=600_000, help="tokens of every store")
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), help="which")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where the stores are made; the system's temporary folder by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.layouts, options.repeats = 40_000, ["1 MiB in 32 MiB"], 1
    return options
