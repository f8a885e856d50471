"""Fits per second of `tsl_jax` by number of curves, of checkpoints and of devices.

    python -m benchmarks scaling [--most-curves 1000000] [--devices 1 2 4] [--out FILE] [--quick]

Sigmoids (noise 0.01 to 1 of the drop, float16), fitted as `fit_store` fits them: blocks of at most 2^20 curves, padded
to one shape and shared out over the devices, two of them begun at a time. Millions of curves are the same block over
again, so that making them takes neither time nor memory. Each number of devices has a process of its own; where JAX
finds none but the CPU its devices are made up (`jax_num_cpu_devices`), and the process has as many cores, or all that
there are. The fraction that is solved is judged on some curves, as in `benchmarks fitting`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from .. import record

#: Curves of the sweeps over checkpoints and devices at 64 checkpoints; more checkpoints get as many fewer.
_CURVES, _MOST_BLOCK = 2**19, 2**20
_JUDGED = 512


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    if options.worker:
        points = json.loads(options.worker)
        print(json.dumps([_measure(devices, curves, n, options.repeats) for devices, curves, n in points]))
        return {}
    curves = [10**power for power in range(3, 9) if 10**power <= options.most_curves]
    few = curves[0] if options.quick else _CURVES
    options.on_cpu = _backend() == "cpu"
    sweeps = {
        "curves": _in_process(1, [[number, 64] for number in curves], options),
        "checkpoints": _in_process(1, [[max(1, few * 64 // n), n] for n in options.checkpoints], options),
        "devices": [entry for n in options.devices for entry in _in_process(n, [[few * n, 64]], options)],
    }
    result = {"benchmark": "scaling", "environment": record.environment(), "sweeps": sweeps}
    print(tables(result))
    return record.finish(result, options.out)


def _in_process(devices: int, points: list[list[int]], options: argparse.Namespace) -> list[dict]:
    """Measure (curves, checkpoints) pairs in a process that has so many devices."""
    command = [sys.executable, "-m", "benchmarks", "scaling", "--worker", json.dumps([[devices, *p] for p in points])]
    command += ["--repeats", str(options.repeats)]
    cores = sorted(os.sched_getaffinity(0))[: devices if options.on_cpu else None]
    return json.loads(record.output_on(cores, command).splitlines()[-1])


def _backend() -> str:
    """What JAX finds, asked of another process: a GPU that this one had started would have no memory for the others."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]


def _measure(devices: int, curves: int, checkpoints: int, repeats: int) -> dict[str, Any]:
    """Rate of one size on so many devices of this process."""
    import jax

    if devices > 1:  # no harm where JAX has found others
        jax.config.update("jax_num_cpu_devices", devices)
    import numpy as np

    from tsl_jax.curves import Sigmoid
    from tsl_jax.fitting import FitOptions
    from tsl_jax.jobs.fit.fitter import BlockFitter

    from . import measure, problems

    there = jax.local_devices()
    if len(there) < devices:
        return {"devices": devices, "lacking": f"{len(there)} here"}
    block = min(curves, _MOST_BLOCK)
    problem = problems.sigmoids(0, min(block, 2**16), checkpoints, dtype=np.float16)
    losses = np.resize(problem.losses, (block, checkpoints))
    fitter = BlockFitter(Sigmoid(), problem.time, losses.dtype, FitOptions(), there[:devices])
    compile_seconds = fitter.compile(block, curves)
    seconds = []
    for _ in range(1 if curves >= 10**7 else repeats):
        begun, waiting = time.perf_counter(), []
        for _ in range(-(-curves // block)):
            waiting.append(fitter(losses))
            if len(waiting) > 2:
                jax.block_until_ready(waiting.pop(0))
        found = jax.block_until_ready(waiting)[-1]
        seconds.append(time.perf_counter() - begun)
    judged = max(16, _JUDGED * 64 // max(64, checkpoints))
    entry: dict[str, Any] = {"params": {name: np.asarray(found[name])[:judged] for name in Sigmoid().names}}
    measure.judge(problem, {"tsl_jax": entry}, min(judged, len(problem)))
    median = statistics.median(seconds)
    return {
        "devices": devices,
        "curves": curves,
        "checkpoints": checkpoints,
        "block_curves": block,
        "fits_per_second": curves / median,
        "spread": (max(seconds) - min(seconds)) / median,
        "compile_seconds": compile_seconds,
        **entry,
    }


def tables(result: dict) -> str:
    """One table a sweep."""
    texts = []
    for name, entries in result["sweeps"].items():
        rows = [
            [
                f"{entry[name]:,}",
                f"{entry['fits_per_second']:,.0f}",
                f"{100 * entry['solved']:.2f}% of {entry['judged']:,}",
                f"{entry['compile_seconds']:.1f} s",
            ]
            for entry in entries
            if "lacking" not in entry
        ]
        texts.append(record.table([name, "fits/s", "solved", "compile"], rows))
    return "\n\n".join(texts)


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("scaling", __doc__, quick="a minute, most of it compiling: a thousand curves")
    parser.add_argument("--most-curves", type=int, default=10**6, help="10**8 at most, for fast devices")
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.most_curves, options.checkpoints, options.devices, options.repeats = 1000, [16], [1, 2], 1
    return options
