"""Hours and money for 10^9 to 10^11 tokens, from the rate that was measured on a core and stated assumptions.

    python -m benchmarks cluster_costs [--tokens N ...] [--checkpoints 64] [--out FILE] [--quick]

The rate of a core is what two Dask workers and their driver fit in a CPU second, as `python -m benchmarks distributed`
measured it. All else is an assumption, printed under the table: that cores add up, what a GPU fits (never measured),
bandwidths, prices, how soon preemptible workers are taken away. Jobs are simulated block by block
(`benchmarks.cluster.simulation`), with the tasks that a real job has; means over seeds.
"""

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Sequence

from .. import record
from .simulation import Outcome, Plant, simulate

#: Tokens of a block of 64 checkpoints in float16 with the default memory, of one process and of a worker's thread of
#: four; bytes of a token's fit; seconds of a task in its worker beside its blocks.
_BLOCK, _THREAD_BLOCK, _FIT_BYTES, _TASK_SECONDS = 2**19, 2**17, 64, 0.5
#: Assumptions that have no option.
_LIFETIME_HOURS, _BACK_SECONDS = 6.0, 300.0
_NODE_BANDWIDTH, _DISK_BANDWIDTH = 2e9, 1e9


def main(argv: list[str] | None = None) -> dict:
    """Simulate, print the table, write the JSON."""
    options = _arguments(argv)
    rate = core_rate(json.loads((record.RESULTS / options.measured).read_text()))
    rows = []
    for plant in plants(rate, options):
        jobs = []
        for tokens in options.tokens:
            seeds = options.seeds if plant.lifetime_hours < math.inf else 1
            found = [_once(tokens, plant, options, seed) for seed in range(seeds)]
            jobs.append({"tokens": tokens} | _mean(found))
        rows.append({"plant": dataclasses.asdict(plant), "jobs": jobs})
    result = {
        "benchmark": "cluster_costs",
        "checkpoints": options.checkpoints,
        "core_rate": rate,
        "gpu_rate": options.gpu_rate,
        "core_price": options.core_price,
        "gpu_price": options.gpu_price,
        "bandwidth": options.bandwidth,
        "plants": rows,
        "environment": record.environment(),
    }
    print(table(result))
    record.finish(_without_infinity(result), options.out)
    return result


def core_rate(measured: dict) -> float:
    """Tokens for a CPU second of two workers and their driver: it holds on a machine that others use, too."""
    rounds = [found["workers"] for found in max(measured["rates"], key=lambda entry: entry["cores"])["rounds"]]
    return statistics.median(run["tokens"] / (run["driver_cpu_seconds"] + run["workers_cpu_seconds"]) for run in rounds)


def plants(rate: float, options: argparse.Namespace) -> list[Plant]:
    """A laptop, a node, and sixteen of them; with CPUs and with GPUs, safe and preemptible."""

    price, never, node = options.core_price, math.inf, _NODE_BANDWIDTH
    many = min(options.bandwidth, 16 * node)

    def cores(name: str, number: int, total: float, price: float, life: float) -> Plant:
        return Plant(name, number, rate, _THREAD_BLOCK, node, total, life, _BACK_SECONDS, price=price)

    def gpus(name: str, number: int, price: float, life: float) -> Plant:
        total = min(options.bandwidth, -(-number // 8) * node)
        return Plant(name, number, options.gpu_rate, _BLOCK, node, total, life, _BACK_SECONDS, price=price)

    return [
        Plant("laptop of 8 cores, one process", 1, 8 * rate, _BLOCK, _DISK_BANDWIDTH, _DISK_BANDWIDTH),
        cores("a node of 64 cores", 64, node, price[0], never),
        cores("16 such nodes", 1024, many, price[0], never),
        cores("16 such nodes, preemptible", 1024, many, price[1], _LIFETIME_HOURS),
        gpus("a node of 8 GPUs (*)", 8, options.gpu_price[0], never),
        gpus("8 such nodes, preemptible (*)", 64, options.gpu_price[1], _LIFETIME_HOURS),
    ]


def _once(tokens: int, plant: Plant, options: argparse.Namespace, seed: int) -> Outcome:
    return simulate(
        tokens,
        plant,
        token_bytes=2 * options.checkpoints + _FIT_BYTES,
        task_seconds=_TASK_SECONDS,
        seed=seed,
    )


def _mean(found: Sequence[Outcome]) -> dict:
    names = [field.name for field in dataclasses.fields(Outcome)]
    means = {name: statistics.mean(getattr(outcome, name) for outcome in found) for name in names}
    return means | {"least_hours": min(o.hours for o in found), "most_hours": max(o.hours for o in found)}


def table(result: dict) -> str:
    """A row a plant, a column a number of tokens; then the assumptions."""
    plants = result["plants"]
    head = ["", *(f"10^{math.log10(job['tokens']):.0f} tokens" for job in plants[0]["jobs"])]
    rows = []
    for entry in plants:
        price = entry["plant"]["price"]
        cells = [_time(job["hours"]) + (f", ${job['paid']:,.2f}" if price else "") for job in entry["jobs"]]
        rows.append([entry["plant"]["name"], *cells])
    return f"{record.table(head, rows)}\n\n{assumptions(result)}"


def assumptions(result: dict) -> str:
    """What was measured, and what was not."""
    (core, spot), (gpu, gpu_spot) = result["core_price"], result["gpu_price"]
    token_bytes, disk, node = 2 * result["checkpoints"] + _FIT_BYTES, _DISK_BANDWIDTH / 1e9, _NODE_BANDWIDTH / 1e9
    return (
        f"*{result['checkpoints']} checkpoints in float16, {token_bytes} bytes read and written a token. Measured: "
        f"{result['core_rate']:,.0f} tokens a CPU second, of two workers and their driver. Assumed: that cores add up; "
        f"{result['gpu_rate']:,.0f} tokens/s of a GPU, which nobody has measured; {node:.0f} GB/s between a node and "
        f"the stores, {result['bandwidth'] / 1e9:.0f} GB/s of all nodes, {disk:.0f} GB/s of a laptop's disk; "
        f"{_TASK_SECONDS} s a task beside its blocks; ${core} an hour for a core and ${gpu} for a GPU, preemptible "
        f"${spot} and ${gpu_spot}; that preemptible ones live {_LIFETIME_HOURS:.0f} hours on average (exponential) and "
        f"are replaced {_BACK_SECONDS / 60:.0f} minutes later.*"
    )


def _time(hours: float) -> str:
    if hours < 1 / 30:
        return f"{3600 * hours:.0f} s"
    if hours < 2:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _without_infinity(value):
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {name: _without_infinity(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(part) for part in value]
    return None if value == math.inf else value


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("cluster_costs", __doc__, quick="a second: few tokens")
    parser.add_argument("--tokens", type=int, nargs="+", default=[10**9, 10**10, 10**11])
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--measured", default="distributed_cpu.json", help="results of `distributed`")
    parser.add_argument("--gpu-rate", type=float, default=1e7, help="tokens a second of a GPU: an assumption")
    parser.add_argument("--core-price", type=float, nargs=2, default=[0.04, 0.015], help="an hour; and preemptible")
    parser.add_argument("--gpu-price", type=float, nargs=2, default=[3.0, 1.2], help="an hour; and preemptible")
    parser.add_argument("--bandwidth", type=float, default=2e10, help="bytes a second of the stores to all nodes")
    parser.add_argument("--seeds", type=int, default=3, help="of preemption")
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.seeds = [10**8], 2
    return options
