"""What a Dask scheduler is asked to do; sent by value, as no function of a module is: it may lack this package."""

from collections.abc import Callable
from typing import Any


def preparation(most: int) -> Callable[[Any], int]:
    """Lets tasks lose up to ``most`` workers, and tells how many were lost since this was first asked of a scheduler.

    The scheduler's own log forgets: it holds so many events of all kinds, a few for each task.
    """
    name = "tsl-lost-workers"

    def prepare(dask_scheduler: Any) -> int:
        from distributed import SchedulerPlugin

        class LostWorkers(SchedulerPlugin):
            count = 0

            def remove_worker(self, scheduler: object, worker: str, **more: object) -> None:  # no name of this module
                self.count += 1

        dask_scheduler.allowed_failures = max(most, dask_scheduler.allowed_failures)
        if name not in dask_scheduler.plugins:
            dask_scheduler.add_plugin(LostWorkers(), name=name)
        return dask_scheduler.plugins[name].count

    return prepare
