"""From store to store with the fit replaced by a stub: what reading and writing alone allow, here and on more cores.

    python -m benchmarks without_fits [--tokens N] [--cores 1 2] [--model 16] [--out FILE] [--quick]

A GPU that fits 33 million tokens a second is fed by the processor's cores. `fit_store` runs on some cores of this
machine, each number in a process of its own; its first block is fitted, and that result stands for all others. Seconds,
on the clock and of the processor, are those between the ends of the first block's writing and of the last one's,
medians over the repeats; on the clock a slow disk counts too (``--folder /dev/shm`` is none). What few cores and many
take tells what goes on one at a time (the interpreter's lock, memory's bandwidth) from what cores share, and so the
rate of still more cores by Amdahl's law: a model, which nothing here measures.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from .. import record
from .end_to_end import LAYOUTS
from .stores import write_sigmoids

#: Tokens a second of 64 float16 losses, 4.2 GB/s, that a GPU is to be given.
WANTED = 33e6


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    if options.worker:
        print(json.dumps(_work(Path(options.worker), options.repeats)))
        return {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        entries = [_measure(layout, Path(tempfile.mkdtemp(dir=folder)), options) for layout in options.layouts]
    result = {
        "benchmark": "without_fits",
        "tokens": options.tokens,
        "checkpoints": 64,
        "model_cores": options.model,
        "layouts": entries,
        "environment": record.environment(),
    }
    print(table(result))
    return record.finish(result, options.out)


def table(result: dict) -> str:
    """One row a layout."""
    cores = [str(one["cores"]) for one in result["layouts"][0]["runs"]]
    modelled = result["model_cores"]
    head = ["chunks in shards", "CPU, µs a token", *(f"tokens/s, {n} core{'s' * (n != '1')}" for n in cores)]
    head += ["shared by cores, µs a token", "one at a time", f"model: {modelled} cores"]
    rows = []
    for entry in result["layouts"]:
        serial, shared = parts(entry["runs"])
        rate = 1 / (serial + shared / modelled)
        cells = [f"{1e6 * entry['runs'][0]['cpu_seconds_a_token']:.3f}"]
        cells += [f"{1 / one['seconds_a_token']:,.0f}" for one in entry["runs"]]
        each = [f"{1e6 * shared:.3f}", f"{1e6 * serial:.3f}"]
        rows.append([entry["layout"], *cells, *each, f"{rate:,.0f} ({rate / WANTED:.0%} of 33 M)"])
    return record.table(head, rows)


def parts(runs: list[dict]) -> tuple[float, float]:
    """Seconds a token that go on one core at a time, and those that cores share: T(n) = serial + shared / n."""
    few, many = runs[0], runs[-1]
    between = 1 / few["cores"] - 1 / many["cores"]
    shared = (few["seconds_a_token"] - many["seconds_a_token"]) / between
    serial = max(few["seconds_a_token"] - shared / few["cores"], 0.0)
    return serial, (few["seconds_a_token"] - serial) * few["cores"]


def _measure(layout: str, folder: Path, options: argparse.Namespace) -> dict:
    chunk, shard = (2**10 * kib for kib in LAYOUTS[layout])
    write_sigmoids(folder / "losses.zarr", options.tokens, 64, chunk, shard)
    here, runs = sorted(os.sched_getaffinity(0)), []
    for cores in options.cores:
        command = [sys.executable, "-m", "benchmarks", "without_fits", "--worker", str(folder)]
        command += ["--repeats", str(options.repeats), "--cores", str(cores)]
        runs.append({"cores": cores, **json.loads(record.output_on(here[:cores], command))})
    return {"layout": layout, "runs": runs}


def _work(folder: Path, repeats: int) -> dict:
    """Seconds a token in this process, whose cores are given.

    All that is written stays until the last measurement: a file system may look long for room for a file where others
    were deleted less than a minute ago (ext4: a third of the time).
    """
    from tsl_jax import Sigmoid, fit_store
    from tsl_jax.jobs.fit.fitter import BlockFitter
    from tsl_jax.jobs.fit.writing import BlockWriter
    from tsl_jax.stream.cores import share_out_the_cores

    share_out_the_cores()
    fitted, kept = BlockFitter.__call__, []

    def stub(self, losses):
        if not kept:
            kept.append(fitted(self, losses))
        return kept[0]

    written, found = BlockWriter.__call__, []

    def writing(self, block, result):
        written(self, block, result)
        ends.append((time.perf_counter(), time.process_time(), block.block.stop - block.block.start))

    stubs = mock.patch.object(BlockFitter, "__call__", stub), mock.patch.object(BlockWriter, "__call__", writing)
    with stubs[0], stubs[1]:
        for turn in range(1 + repeats):  # the first compiles, and fits the block that stands for all
            ends = list[tuple[float, float, int]]()
            fit_store(folder / "losses.zarr", Path(tempfile.mkdtemp(dir=folder)) / "fits", Sigmoid())
            first, *later = sorted(ends)
            if turn:
                tokens = sum(tokens for *_, tokens in later)
                found.append([(last - begun) / tokens for begun, last in zip(first[:2], later[-1][:2], strict=True)])
    wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
    return {"seconds_a_token": wall, "cpu_seconds_a_token": cpu, "rounds": found}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("without_fits", __doc__, quick="half a minute: one small store")
    parser.add_argument("--tokens", type=int, default=16_000_000, help="tokens of every store")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="of this machine, few and many")
    parser.add_argument("--model", type=int, default=16, help="cores that the model is asked for")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=["1 MiB in 32 MiB", "1 MiB, no shards"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where the stores are made; the system's temporary folder by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.layouts, options.repeats = 200_000, ["1 MiB in 32 MiB"], 1
    return options
