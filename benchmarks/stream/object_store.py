"""`fit_store` from and to an object store that answers late, against a local directory, on the same losses.

    python -m benchmarks object_store [--tokens N] [--delay SECONDS] [--rounds N] [--out FILE] [--quick]

Losses (noisy sigmoids, float16, shards of 32 MiB) are written once. A process of its own fits them, in turns from the
local directory and from the same folder behind a server (`benchmarks.stream.s3`) that answers each request ``--delay``
late; the program is compiled before. The server has the last core for itself, the fits have the others: a store that is
far away has processors of its own. A rate is tokens by the time of the whole job, with opening, making the output and
describing it; "while it fits" is tokens by the time that devices fit or wait. The fraction is the median over rounds.

What does not depend on how busy the machine is: how many requests come before the output is made and after the last
block, and how many of them *in turn*, each after the answer to the one before. ``--log`` keeps every request.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .. import record
from .s3 import Request
from .stores import write_sigmoids

_ROOT = Path(__file__).parents[2]
#: Where obstore looks for the server.
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    if options.worker:
        print(json.dumps(_fit(Path(options.worker), options.rounds)))
        return {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_sigmoids(Path(folder) / "losses.zarr", options.tokens, options.checkpoints)
        rounds, requests = _measure(folder, options)
    fraction = {
        kind: statistics.median(both["far"][kind] / both["local"][kind] for both in rounds)
        for kind in ("per_second", "per_second_while_it_fits")
    }
    result = {
        "benchmark": "object_store",
        "tokens": options.tokens,
        "checkpoints": options.checkpoints,
        "delay_seconds": options.delay,
        "environment": record.environment(),
        "rounds": rounds,
        "requests": requests,
        "fraction": fraction,
    }
    print(table(result))
    late = f"{1000 * options.delay:.0f} ms late"
    told = ", ".join(f"{name} {number}" for name, number in requests.items())
    print(f"\n{options.tokens:,} tokens, {options.checkpoints} checkpoints, float16; requests, each {late}: {told}.")
    return record.finish(result, options.out)


def table(result: dict) -> str:
    """One row a place, and one for the fraction."""
    rows = []
    for name, place in (("local directory", "local"), ("object store", "far")):
        each = [both[place] for both in result["rounds"]]
        kinds = ("per_second", "per_second_while_it_fits", "waited_for_input", "waited_for_write")
        middle = [statistics.median(one[kind] for one in each) for kind in kinds]
        rows.append([name, *(f"{rate:,.0f}" for rate in middle[:2]), *(f"{wait:.2f} s" for wait in middle[2:])])
    fractions = [f"{100 * fraction:.0f}%" for fraction in result["fraction"].values()]
    rows.append(["fraction", *fractions, "", ""])
    rows.append([f"load of the machine {result['environment']['load_average']:.1f}", "", "", "", ""])
    return record.table(["", "tokens/s", "while it fits", "waited for input", "for writing"], rows)


def _measure(folder: str, options: argparse.Namespace) -> tuple[list[dict], dict[str, int]]:
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "benchmarks.stream.s3", folder, str(options.delay)]
    with (
        subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
        contextlib.ExitStack() as ended,
    ):
        assert server.stdout is not None
        ended.callback(server.kill)
        os.sched_setaffinity(server.pid, cores[-1:])
        port = server.stdout.readline().strip()
        where = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", **_ENVIRONMENT}
        worker = [
            sys.executable,
            "-m",
            "benchmarks",
            "object_store",
            "--worker",
            folder,
            "--rounds",
            str(options.rounds),
        ]
        os.sched_setaffinity(0, cores[:-1] or cores)  # what is started from here has these cores
        try:
            done = subprocess.run(
                worker, cwd=_ROOT, env=os.environ | where, stdout=subprocess.PIPE, text=True, check=True
            )
        finally:
            os.sched_setaffinity(0, cores)
        requests: list[Request] = json.loads(server.communicate("")[0])
    if options.log:
        Path(options.log).write_text("".join(f"{came:.4f} {gone:.4f} {what}\n" for came, gone, what in requests))
    rounds = json.loads(done.stdout)
    each = [_counted(requests, [both[place].pop("moments") for place in ("local", "far")][1]) for both in rounds]
    return rounds, {name: round(statistics.median(one[name] for one in each)) for name in each[0]}


def _counted(requests: Sequence[Request], moments: Sequence[float]) -> dict[str, int]:
    """Requests of one fit, by its beginning, the moments at which the output is made and all is fitted, and its end."""
    begun, made, fitted, ended = moments
    parts = {"before the output is made": (begun, made), "after the last block": (fitted, ended)}
    counted = {"all": sum(begun <= came < ended for came, *_ in requests)}
    for name, (first, last) in parts.items():
        some = [request for request in requests if first <= request[0] < last]
        counted |= {name: len(some), f"{name}, in turn": in_turn(some)}
    return counted


def in_turn(requests: Sequence[Request]) -> int:
    """How many requests came each after the answer to the one before, at most."""
    number, answered = 0, 0.0
    for came, gone, _ in sorted(requests, key=lambda request: request[1]):
        if came >= answered:
            number, answered = number + 1, gone
    return number


def _fit(folder: Path, rounds: int) -> list[dict]:
    """Fit from both places in turns, in this process, which does nothing else."""
    import tsl_jax as tsl
    from tsl_jax.stream.cores import share_out_the_cores

    share_out_the_cores()
    places, found = {"local": str(folder), "far": "s3://bucket"}, []
    for turn in range(-1, rounds):
        both = {}
        for name in sorted(places, reverse=turn % 2 == 0):
            shutil.rmtree(folder / "fits.zarr", ignore_errors=True)
            root, moments = places[name], [time.time()]

            def note(done: int, total: int, moments: list[float] = moments) -> None:
                if done in (0, total):
                    moments.append(time.time())

            done = tsl.fit_store(f"{root}/losses.zarr", f"{root}/fits.zarr", tsl.Sigmoid(), progress=note)
            moments.append(time.time())
            stages = done.stages
            fitting = stages.fit + stages.waited_for_input + stages.waited_for_write
            both[name] = {
                "per_second": done.tokens / (done.wall_seconds - done.compile_seconds),
                "per_second_while_it_fits": done.tokens / fitting,
                "waited_for_input": stages.waited_for_input,
                "waited_for_write": stages.waited_for_write,
                "moments": moments,
            }
        if turn >= 0:
            found.append(both)
    return found


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("object_store", __doc__, quick="half a minute: a small store, one round")
    parser.add_argument("--tokens", type=int, default=4_000_000)
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds by which each request is answered late")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--log", help="a file for the requests: when each came and was answered, and what it was")
    parser.add_argument("--folder", help="where the stores are made; the system's temporary folder by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.rounds = 100_000, 1
    return options
