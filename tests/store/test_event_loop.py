"""Stores are called where Zarr calls them: one that is bound to an event loop meets one alone."""

import asyncio
import os

import numpy as np
import pytest
import zarr
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, WrapperStore

from tsl_jax.store import create_losses, list_objects, locate, open_losses
from tsl_jax.store.event_loop import wait_for
from tsl_jax.store.lock import writer_lock


class Bound(WrapperStore):
    """As a store with connections: of use on the event loop alone that it was first used on."""

    def __init__(self, store, loops=None):
        super().__init__(store)
        self.loops = set() if loops is None else loops

    def _with_store(self, store):
        return type(self)(store, self.loops)

    def _check(self):
        self.loops.add(asyncio.get_running_loop())
        assert len(self.loops) == 1, "used on two event loops"

    async def get(self, *arguments, **named):
        self._check()
        return await super().get(*arguments, **named)

    async def set(self, *arguments, **named):
        self._check()
        await super().set(*arguments, **named)

    async def set_if_not_exists(self, *arguments, **named):
        self._check()
        await super().set_if_not_exists(*arguments, **named)

    async def exists(self, *arguments, **named):
        self._check()
        return await super().exists(*arguments, **named)

    async def delete(self, *arguments, **named):
        self._check()
        await super().delete(*arguments, **named)


def test_a_store_that_is_bound_to_one_event_loop_serves(tmp_path):
    store = Bound(MemoryStore())
    create_losses(store, np.ones((4, 3)), checkpoints={"step": [1, 2, 3]})
    with writer_lock(locate(store, writable=True)) as lock:
        lock.check()
        assert wait_for(store.exists("ledger/lease"))
    assert not wait_for(store.exists("ledger/lease"))
    assert "losses/zarr.json" in (list_objects(store, "") or {})
    np.testing.assert_array_equal(open_losses(store).read(), np.ones((4, 3)))
    assert len(store.loops) == 1


def test_the_test_store_knows_two_loops_apart():
    store = Bound(MemoryStore())
    zarr.create_group(store)
    with pytest.raises(AssertionError, match="two event loops"):
        asyncio.run(store.exists("zarr.json"))


def test_what_a_call_raises_is_raised():
    with pytest.raises(FileNotFoundError):
        wait_for(MemoryStore().getsize("absent"))


def test_a_call_that_would_wait_for_itself_is_refused():
    class Inside(WrapperStore):
        async def set(self, key, value):
            wait_for(self._store.set(key, value))

    with pytest.raises(RuntimeError, match="would wait for itself"):
        zarr.create_group(Inside(MemoryStore()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_fork_has_a_loop_of_its_own():
    store = MemoryStore()
    wait_for(store.set("a", default_buffer_prototype().buffer.from_bytes(b"1")))
    child = os.fork()
    if child == 0:  # the parent's thread that runs its loop is not here
        os._exit(0 if wait_for(store.exists("a")) else 1)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        asyncio.run(asyncio.sleep(0.05))
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for the loop of its parent")
    assert os.waitstatus_to_exitcode(status) == 0
