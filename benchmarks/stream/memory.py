"""Memory of `fit_store` by size of the store: resident, above what the program itself takes.

    python -m benchmarks memory [--tokens N ...] [--memory BYTES] [--out FILE] [--quick]

Each store (noisy sigmoids, float16) is made on the fly and fitted in a process of its own, on all devices (a CPU has
one a core, as for the commands). The baseline is what is resident there once a store of 4,096 tokens was fitted: blocks
of a large one are read while its programs are prepared. What comes on top is the process's peak at the end less that.
Blocks grow with the store until the budget `memory` bounds them (1 GiB by default), and with them what comes on top;
from there on it should not grow. What is resident is also kept as the fit goes on, for the picture.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from .. import record
from .stores import write_sigmoids

LIMIT_BYTES = 2 * 2**30
#: Points of the picture for a store.
_MOST_SEEN = 50
#: Tokens of the store that is fitted for the baseline.
_FEW = 4096


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    if options.worker:
        print(json.dumps(_fit(options.worker, options.memory)))
        return {}
    entries = [_measure(tokens, options) for tokens in options.tokens]
    result = {
        "benchmark": "memory",
        "checkpoints": options.checkpoints,
        "dtype": "float16",
        "limit_bytes": LIMIT_BYTES,
        "environment": record.environment(),
        "stores": entries,
    }
    print(table(entries))
    return record.finish(result, options.out, f"; {options.checkpoints} checkpoints, float16")


def _measure(tokens: int, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        write_sigmoids(Path(folder) / "losses.zarr", tokens, options.checkpoints)
        write_sigmoids(Path(folder) / "few.zarr", _FEW, options.checkpoints)
        command = [sys.executable, "-m", "benchmarks", "memory", "--worker", folder]
        command += ["--memory", str(options.memory)] if options.memory else []
        done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _fit(folder: str, memory: int | None) -> dict:
    """Fit the store in this process, which does nothing else."""
    from tsl_jax import Sigmoid, fit_store
    from tsl_jax.stream.cores import share_out_the_cores

    share_out_the_cores()
    seen = []
    fit_store(Path(folder) / "few.zarr", Path(folder) / "few_fits.zarr", Sigmoid())
    baseline = resident_bytes()
    summary = fit_store(
        Path(folder) / "losses.zarr",
        Path(folder) / "fits.zarr",
        Sigmoid(),
        memory=memory,
        progress=lambda done, _: seen.append([done, resident_bytes()]),
    )
    return {
        "tokens": summary.tokens,
        "memory": memory,
        "block_tokens": -(-summary.tokens // summary.blocks),
        "blocks": summary.blocks,
        "losses_bytes": summary.tokens * summary.checkpoints * 2,
        "baseline_bytes": baseline,
        "peak_bytes": peak_bytes(),
        "above_baseline_bytes": peak_bytes() - baseline,
        "resident": seen[1 :: -(-len(seen) // _MOST_SEEN)],
        "fits_per_second": summary.fits_per_second,
    }


def resident_bytes() -> int:
    """Resident bytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """Most resident bytes of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def table(entries: list[dict]) -> str:
    """One row a store."""

    def mib(size: int) -> str:
        return f"{size / 2**20:,.0f} MiB"

    header = ["tokens", "losses", "blocks", "baseline", "above it", "within 2 GiB", "fits/s"]
    rows = [
        [
            f"{entry['tokens']:,}",
            mib(entry["losses_bytes"]),
            f"{entry['blocks']} of {entry['block_tokens']:,}",
            mib(entry["baseline_bytes"]),
            mib(entry["above_baseline_bytes"]),
            "yes" if entry["above_baseline_bytes"] <= LIMIT_BYTES else "NO",
            f"{entry['fits_per_second']:,.0f}",
        ]
        for entry in entries
    ]
    return record.table(header, rows)


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("memory", __doc__, quick="a few seconds: small stores and a small budget")
    parser.add_argument("--tokens", type=int, nargs="+", default=[200_000, 1_000_000], help="sizes of the stores")
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--memory", type=int, help="budget for blocks in flight, bytes; 1 GiB by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.memory = [20_000, 40_000], options.memory or 2**23
    return options
