"""The options ``--workers`` and ``--scheduler``: where tasks run."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from .streams import say, stderr_console

_PANEL = "Workers"
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Start so many worker processes on this machine, which share its cores (needs tsl_jax\\[dask]).",
        rich_help_panel=_PANEL,
        show_default="none: all is done in this process",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS|FILE",
        help="Use the workers of this Dask scheduler, such as tcp://10.0.0.1:8786, or that of a scheduler file; they "
        "see the same paths and have the same packages.",
        rich_help_panel=_PANEL,
        show_default="none",
    ),
]


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers that are started here, or those of a scheduler; by default none."""

    workers: Workers = None
    scheduler: Scheduler = None

    @property
    def wanted(self) -> bool:
        """Whether there are any."""
        return self != Cluster()


@contextlib.contextmanager
def using_workers(cluster: Cluster) -> Iterator[Any]:
    """A Dask client for ``client=`` of functions, or None where no workers are asked for."""
    workers, scheduler = cluster.workers, cluster.scheduler
    if not cluster.wanted:
        yield None
        return
    if workers is not None and scheduler is not None:
        raise typer.BadParameter(
            "the scheduler has workers of its own; leave out one of the two", param_hint="--workers"
        )
    if importlib.util.find_spec("distributed") is None:
        hint = "--workers" if scheduler is None else "--scheduler"
        raise typer.BadParameter("needs Dask; install it with pip install 'tsl_jax[dask]'", param_hint=hint)
    with _cluster(workers) if workers is not None else _reached(str(scheduler)) as client:
        yield client


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    import dask.config
    from distributed import Client, LocalCluster

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=max(1, cores // workers),
        memory_limit=0,  # memory= bounds it
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )
    # A worker that was killed is started again; on a busy machine that takes longer than Dask waits for it.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
    with patient, cluster, Client(cluster) as client:
        if importlib.util.find_spec("bokeh"):
            say(stderr_console(), f"Dashboard: {cluster.dashboard_link}")
        yield client


@contextlib.contextmanager
def _reached(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    from ..stream.outcomes import WorkerError

    try:
        where: Any = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
        client = Client(**where, set_as_default=False)  # Dask's configuration says how long it waits
    except (OSError, TimeoutError, ValueError) as error:
        raise WorkerError(
            f"--scheduler {scheduler}: no scheduler answers there ({type(error).__name__}: {error}). Start it (dask "
            "scheduler), give its address as it prints it, or the file that it was told to write with --scheduler-file."
        ) from error
    with client:
        yield client
