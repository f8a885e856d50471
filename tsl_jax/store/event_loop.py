"""Calls of a Zarr store beside arrays and groups: they run on the event loop on which Zarr runs its own.

The methods of a store are coroutines, and a store may be bound to the event loop that it was first used on, as
connections of fsspec are. Zarr keeps one loop for all stores, in a thread of its own, and has no public name for it;
but it is the loop that runs the methods of a store that Zarr itself calls.
"""

import asyncio
import functools
import os
from collections.abc import Coroutine
from concurrent.futures import wait
from typing import Any, TypeVar

import zarr
from zarr.abc.buffer import Buffer
from zarr.storage import MemoryStore, WrapperStore

Value = TypeVar("Value")


def wait_for(call: Coroutine[Any, Any, Value]) -> Value:
    """What a coroutine of a store returns, or raises.

    Raises:
        RuntimeError: the caller runs on the loop that would have to answer.
    """
    loop = _loop(os.getpid())
    try:
        inside = asyncio.get_running_loop() is loop
    except RuntimeError:  # no loop runs in this thread
        inside = False
    if inside:
        call.close()
        raise RuntimeError("wait_for: called on Zarr's event loop, which would wait for itself; await the call instead")
    future = asyncio.run_coroutine_threadsafe(call, loop)
    wait([future])
    return future.result()


@functools.lru_cache(maxsize=1)
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The loop on which Zarr calls stores; ``process``: of this one, as a fork has a loop of its own."""
    probe = _Probe(MemoryStore())
    zarr.create_group(probe)
    return probe.seen[0]


class _Probe(WrapperStore[MemoryStore]):
    """A store that notes on which loop it is written."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.seen: list[asyncio.AbstractEventLoop] = []

    async def set(self, key: str, value: Buffer) -> None:
        """Note the loop, and write."""
        self.seen.append(asyncio.get_running_loop())
        await super().set(key, value)
