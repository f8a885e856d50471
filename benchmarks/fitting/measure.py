"""Methods on one problem: rate, compile time, memory, counted operations; and whether their curves are solved."""

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from . import operations, oracle, peers
from .gpufit import Lacking
from .problems import Problem

#: Curves whose operations are counted.
_COUNTED = 2048


def measure(parts: dict[str, Problem], repeats: int, *, counted: bool = True) -> dict[str, dict[str, Any]]:
    """Run methods on curves of a problem, once each to compile, then in ``repeats`` rounds to measure.

    Each round runs every method once, so that a machine that is slower for a while is so for all of them.

    Args:
        parts: the curves for each method.
        repeats: rounds.
        counted: whether to count operations.

    Returns:
        By method what a result holds, and its named parameters under ``params``; for a method that cannot run, or has
        no such model, only why, under ``lacking``.
    """
    found: dict[str, dict[str, Any]] = {}
    runs: dict[str, peers.Run] = {}
    for method, problem in parts.items():
        try:
            runs[method] = peers.METHODS[method][0](problem)
        except Lacking as reason:
            found[method] = {"lacking": str(reason)}
            continue
        memory = _Memory()
        first, params = _timed(runs[method], problem)
        found[method] = {"version": peers.version(method), "curves": len(problem), "seconds": [], "params": params}
        found[method] |= {"first_seconds": first, "peak_memory_bytes": memory.peak(), "memory_of": memory.of}
    for _ in range(repeats):
        for method, run in runs.items():
            found[method]["seconds"].append(_timed(run, parts[method])[0])
    for method, run in runs.items():
        entry, seconds = found[method], found[method]["seconds"]
        median = statistics.median(seconds)
        entry["fits_per_second"] = len(parts[method]) / median
        entry["spread"] = (max(seconds) - min(seconds)) / median
        entry["compile_seconds"] = max(0.0, entry.pop("first_seconds") - median)
        if counted and run.program:
            entry |= _work(run, parts[method], entry["fits_per_second"])
    return found


def _timed(run: peers.Run, problem: Problem) -> tuple[float, dict[str, np.ndarray]]:
    begin = time.perf_counter()
    params = run(problem.losses)
    return time.perf_counter() - begin, params


def _work(run: peers.Run, problem: Problem, rate: float) -> dict[str, float]:
    """Operations a fit, counted on some of the curves, and bytes that it cannot do without: losses in, results out."""
    assert run.program is not None
    losses = problem.losses[: run.block or _COUNTED]
    done = operations.count(run.program, losses)
    results = jax.eval_shape(run.program, losses)
    bytes_out = sum(leaf.dtype.itemsize * leaf.size for leaf in jax.tree.leaves(results)) / len(losses)
    bytes_moved = losses.nbytes / len(losses) + bytes_out
    return {
        "flops_per_fit": done.flops / len(losses),
        "transcendental_per_fit": done.transcendental / len(losses),
        "bytes_per_fit": bytes_moved,
        "flops_per_second": rate * done.flops / len(losses),
        "bytes_per_second": rate * bytes_moved,
    }


def judge(problem: Problem, entries: dict[str, dict[str, Any]], num_judged: int) -> None:
    """Replace each entry's parameters by the fraction of the first curves that they solve.

    The best known is that of the exhaustive search and of `tsl_jax`, which both keep plateaus at 0 or above.
    """
    # Losses stored in few bits are what they are: nobody is let off below float32's rounding.
    problem = problem[:num_judged]
    problem = dataclasses.replace(problem, losses=problem.losses.astype(np.float32))
    best = oracle.best_known(problem)
    if "params" in entries.get("tsl_jax", {}):
        best = oracle.with_better(problem, best, entries["tsl_jax"]["params"])
    for entry in entries.values():
        if "params" not in entry:
            continue
        params = {name: value[:num_judged] for name, value in entry.pop("params").items()}
        num = len(next(iter(params.values())))
        part, part_best = problem[:num], best[:num]
        entry["judged"] = num
        entry["solved"] = float(oracle.solved(part, oracle.rss_of(part, params), part_best).mean())


class _Memory:
    """Most memory since this object was made, above what was held then.

    On a CPU the high-water mark of the resident set, which Linux lets a process reset: so one process can tell its
    methods apart. On other devices what JAX says of the device, whose mark can only rise.
    """

    def __init__(self) -> None:
        self._device = jax.devices()[0]
        self._status = Path("/proc/self/status")
        self.of = "device, highest so far in this process"
        if self._device.platform == "cpu":
            self.of = "resident set of the one process, above what it held before the method; compiling included"
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:
                self.of = "not known: the high-water mark of this process cannot be reset"
        self._before = self._held("VmRSS")

    def peak(self) -> int | None:
        """Bytes, None where nobody can say."""
        if self._device.platform != "cpu":
            return (self._device.memory_stats() or {}).get("peak_bytes_in_use")
        return None if self.of.startswith("not known") else max(0, self._held("VmHWM") - self._before)

    def _held(self, name: str) -> int:
        if not self._status.exists():
            return 0
        line = next(line for line in self._status.read_text().splitlines() if line.startswith(f"{name}:"))
        return 1024 * int(line.split()[1])
