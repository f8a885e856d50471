"""A process on some cores that fits when it is told to, alone or with workers; it speaks JSON lines."""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Server:
    """A process of `serve`.

    Args:
        workers: how many it starts; 0: it fits by itself.
        cores: on which it and its workers run; the first so many of this process's.
    """

    def __init__(self, workers: int, cores: int) -> None:
        command = [sys.executable, "-m", "benchmarks.cluster.server", str(workers), str(cores)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )

    def ask(self, what: str, **arguments: Any) -> Any:
        """What came of a function of this module, called there."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([what, arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"distributed: the process for {what} ended with code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def _environment() -> dict[str, str]:
    """With this checkout first, as in this process; not where Python was told to take what is installed."""
    if sys.flags.safe_path:
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def fit(client: Any, losses: str, fits: str, memory: int | None = None, keep: bool = False) -> dict:
    """Fit a store; seconds and how many."""
    from tsl_jax import Sigmoid, fit_store

    begun, before = time.process_time(), _cpu_of_workers(client)
    summary = fit_store(losses, fits, Sigmoid(), memory=memory, client=client)
    used, by_workers = time.process_time() - begun, _cpu_of_workers(client) - before
    if not keep:
        shutil.rmtree(fits)
    return {
        "tokens": summary.tokens_run,
        "blocks": summary.blocks,
        "wall_seconds": summary.wall_seconds,
        "compile_seconds": summary.compile_seconds,
        "noise_seconds": summary.noise_seconds,
        "driver_cpu_seconds": used,
        "workers_cpu_seconds": by_workers,
        "stages": summary.as_dict()["stages"],
    }


def _cpu_of_workers(client: Any) -> float:
    return 0.0 if client is None else sum(client.run(time.process_time).values())


def peaks(client: Any) -> dict:
    """Most resident bytes so far of this process and of each worker."""
    workers = [] if client is None else list(client.run(peak_bytes).values())
    return {"driver_bytes": peak_bytes(), "worker_bytes": workers}


def empty_tasks(client: Any, number: int) -> float:
    """Seconds of so many tasks that do nothing."""
    from tsl_jax.stream.dask_workers import DaskWorkers

    begun = time.perf_counter()
    for _ in DaskWorkers(client).each(abs, range(number), name="tsl-empty"):
        pass
    return time.perf_counter() - begun


def write_store(client: Any, folder: str, blocks: int) -> None:
    """A store of many blocks that are finished; see `benchmarks.cluster.resuming`."""
    from .resuming import write_store as write

    del client
    write(Path(folder), blocks)


def peak_bytes() -> int:
    """Most resident bytes of this process so far; `getrusage` counts those of its parent before it was started, too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    from ..stream.memory import peak_bytes as of_usage

    return of_usage()


def serve(argv: Sequence[str] | None = None) -> None:
    """Do what lines of the standard input ask for, until it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workers", type=int)
    parser.add_argument("cores", type=int)
    options = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    functions = {"fit": fit, "peaks": peaks, "empty_tasks": empty_tasks, "write_store": write_store}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is no answer
    with _client(options.workers) as client:
        for line in sys.stdin:
            what, arguments = json.loads(line)
            print(json.dumps(functions[what](client, **arguments)), file=answers, flush=True)


@contextlib.contextmanager
def _client(workers: int) -> Iterator[Any]:
    if not workers:
        from tsl_jax.cache import keep_programs
        from tsl_jax.stream.cores import share_out_the_cores

        share_out_the_cores()
        keep_programs()
        yield None
        return
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with cluster, Client(cluster) as client:
        yield client


if __name__ == "__main__":
    serve()
