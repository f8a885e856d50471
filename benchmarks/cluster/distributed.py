"""Workers beside one process on the same cores, the scheduler's cost, and memory.

    python -m benchmarks distributed [--tokens N] [--checkpoints 64] [--out FILE] [--quick]

Noisy sigmoids, float16, are written once. For one core and for two, a process that fits by itself (a device a core, as
the command has it) and one that has as many Dask workers, a core each, fit the store in turns; the cluster's driver and
scheduler are on the same cores as its workers. Seconds are those of `fit_store` from call to return, less those of
compiling; ratios are medians over rounds. On a machine that is shared CPU seconds say more: those of the driver and its
workers, as a multiple of one process's. Tasks that do nothing tell what a task costs. Memory is the most that is
resident in the driver and in a worker of fresh processes, with the same budget for blocks.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from .. import record
from ..stream.stores import write_sigmoids
from .server import Server

#: Bytes for blocks in flight where memory is measured: stores of either size have blocks that it bounds.
_MEMORY = 2**27


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        losses = str(Path(folder) / "losses.zarr")
        write_sigmoids(Path(losses), options.tokens, options.checkpoints)
        result = {
            "benchmark": "distributed",
            "tokens": options.tokens,
            "checkpoints": options.checkpoints,
            "load_before": load,
            "rates": [_rates(cores, losses, options) for cores in options.cores],
            "tasks": _tasks(options),
            "memory": [_memory(tokens, folder, losses, options) for tokens in options.memory_tokens],
        }
    result["environment"] = record.environment()
    print(table(result))
    return record.finish(result, options.out, f"; load before {load:.1f}")


def _rates(cores: int, losses: str, options: argparse.Namespace) -> dict:
    """Rounds of one process and of as many workers as cores, in turns."""
    rounds = []
    with Server(0, cores) as alone, Server(cores, cores) as workers:
        for turn in range(-1, options.repeats):
            order = [("alone", alone), ("workers", workers)]
            found = {}
            for name, server in order if turn % 2 else reversed(order):
                found[name] = server.ask("fit", losses=losses, fits=f"{losses}-fits-{name}")
                found[name]["load"] = os.getloadavg()[0]
            if turn >= 0:  # the first one loads and compiles
                rounds.append(found)
            print(f"{cores} cores, round {turn}: {ratio(found):.3f}", found, flush=True)
    return {"cores": cores, "rounds": rounds}


def rate(run: dict) -> float:
    """Tokens a second, compiling apart."""
    return run["tokens"] / (run["wall_seconds"] - run["compile_seconds"])


def ratio(found: dict) -> float:
    """Rate of the workers as a share of one process's."""
    return rate(found["workers"]) / rate(found["alone"])


def cpu_ratio(found: dict) -> float:
    """CPU seconds with workers, of the driver and all of them, as a multiple of one process's."""
    seconds = {name: run["driver_cpu_seconds"] + run["workers_cpu_seconds"] for name, run in found.items()}
    return seconds["workers"] / seconds["alone"]


def _tasks(options: argparse.Namespace) -> list[dict]:
    with Server(2, 2) as server:
        server.ask("empty_tasks", number=10)
        return [{"tasks": number, "seconds": server.ask("empty_tasks", number=number)} for number in options.tasks]


def _memory(tokens: int, folder: str, losses: str, options: argparse.Namespace) -> dict:
    if tokens != options.tokens:
        losses = str(Path(folder) / f"{tokens}.zarr")
        write_sigmoids(Path(losses), tokens, options.checkpoints)
    with Server(2, 2) as server:
        run = server.ask("fit", losses=losses, fits=f"{losses}-fits", memory=_MEMORY)
        return {"tokens": tokens, "blocks": run["blocks"]} | server.ask("peaks")


def table(result: dict) -> str:
    """Rates, then the rest."""
    rows = []
    for entry in result["rates"]:
        rounds, cores = entry["rounds"], entry["cores"]
        middle = [f"{statistics.median(rate(found[name]) for found in rounds):,.0f}" for name in ("alone", "workers")]
        ratios = sorted(map(ratio, rounds))
        spread = f"{100 * ratios[0]:.0f} to {100 * ratios[-1]:.0f}%"
        cpu = f"{statistics.median(map(cpu_ratio, rounds)):.2f}"
        rows.append([f"{cores}", *middle, f"{100 * statistics.median(ratios):.0f}%", spread, cpu])
    head = ["cores and workers", "one process, tokens/s", "workers, tokens/s", "ratio, median", "of all rounds"]
    head.append("CPU seconds, ratio")
    return "\n\n".join([record.table(head, rows), _rest(result)])


def _rest(result: dict) -> str:
    def mib(size: float) -> str:
        return f"{size / 2**20:,.0f} MiB"

    rows = [
        [f"a task that does nothing, of {entry['tasks']:,}", f"{1e3 * entry['seconds'] / entry['tasks']:.1f} ms"]
        for entry in result["tasks"]
    ]
    for entry in result["memory"]:
        most = max(entry["worker_bytes"])
        rows.append(
            [
                f"memory for {entry['tokens']:,} tokens, {entry['blocks']} blocks",
                f"driver {mib(entry['driver_bytes'])}, a worker {mib(most)}",
            ]
        )
    loads = [run["load"] for entry in result["rates"] for found in entry["rounds"] for run in found.values()]
    if loads:
        rows.append(["load of the machine meanwhile", f"{min(loads):.1f} to {max(loads):.1f}"])
    return record.table(["what", "measured"], rows)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("distributed", __doc__, quick="a minute: small stores, one round")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="tokens of the store")
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="cores, and workers")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--tasks", type=int, nargs="*", default=[100, 1_000, 10_000], help="numbers of empty tasks")
    parser.add_argument("--memory-tokens", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--folder", help="where the stores are made; the system's temporary folder by default")
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.repeats, options.tasks = 40_000, 1, [100]
        options.cores, options.memory_tokens = [1], [40_000]
    return options
