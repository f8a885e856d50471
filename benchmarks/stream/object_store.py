"""`fit_store` from and to an object store that answers late, against a local directory, on the same losses.

    python -m benchmarks object_store [--tokens N] [--delay SECONDS] [--rounds N] [--out FILE] [--quick]

Losses (noisy sigmoids, float16, shards of 32 MiB) are written once. A process of its own fits them, in turns from the
local directory and from the same folder behind a server (`benchmarks.stream.s3`) that answers each request ``--delay``
late; the program is compiled before. The server has the last core for itself, the fits have the others: a store that is
far away has processors of its own. A rate is tokens by the time of the whole job, with opening, making the output and
describing it; "while it fits" is tokens by the time that devices fit or wait. The fraction is the median over rounds.
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
from pathlib import Path

from .. import record
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
    print(
        f"\n{options.tokens:,} tokens, {options.checkpoints} checkpoints, float16; {requests:,} requests, each {late}."
    )
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


def _measure(folder: str, options: argparse.Namespace) -> tuple[list[dict], int]:
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
        requests = int(server.communicate("")[0])
    return json.loads(done.stdout), requests // (options.rounds + 1)


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
            root = places[name]
            done = tsl.fit_store(f"{root}/losses.zarr", f"{root}/fits.zarr", tsl.Sigmoid())
            stages = done.stages
            fitting = stages.fit + stages.waited_for_input + stages.waited_for_write
            both[name] = {
                "per_second": done.tokens / (done.wall_seconds - done.compile_seconds),
                "per_second_while_it_fits": done.tokens / fitting,
                "waited_for_input": stages.waited_for_input,
                "waited_for_write": stages.waited_for_write,
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
    parser.add_argument("--folder", help="where the stores are made; the system's temporary folder by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.tokens, options.rounds = 100_000, 1
    return options
