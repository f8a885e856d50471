"""What tests of killed runs share: a run that is killed at a chosen change of a store, and all files of a place."""

import contextlib
import functools
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tsl_jax.store.local_files import WholeFiles, temporary_name

#: What changes files on the event loop, and in the thread that asks.
CHANGES, CHANGES_HERE = ("set", "set_unsettled", "delete", "delete_dir"), ("write_unsettled",)


class Killed(Exception):
    """The run is gone."""


def tree(path):
    """Every file of a place with its bytes, locks apart."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


class KillAt:
    """Makes the k-th change of files under ``root``, and all after it, fail as if the process were gone.

    ``kill_at(root, k)``, k = 0 for never, returns a function that tells how many changes there were.
    """

    error = Killed

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self._real = {name: getattr(WholeFiles, name) for name in (*CHANGES, *CHANGES_HERE)}

    def __call__(self, root: Path, k: int):
        count, lock = 0, threading.Lock()

        def before(name, store, key):
            nonlocal count
            if root in [store.root, *store.root.parents]:
                with lock:
                    count += 1
                    dead = count >= k > 0
                if dead:
                    if not name.startswith("delete"):
                        leave_half(store.root / key)
                    raise Killed

        def patched(name):
            async def change(store, key, *value):
                before(name, store, key)
                await self._real[name](store, key, *value)

            return change

        def patched_here(name):
            def change(store, key, *value):
                before(name, store, key)
                self._real[name](store, key, *value)

            return change

        for name in CHANGES:
            self._monkeypatch.setattr(WholeFiles, name, patched(name))
        for name in CHANGES_HERE:
            self._monkeypatch.setattr(WholeFiles, name, patched_here(name))
        return lambda: count


@contextlib.contextmanager
def full_disk(key):
    """There is no room for objects of a block whose key has this part."""
    real = WholeFiles.write_unsettled

    def full(self, name, pieces):
        if key in name:
            raise OSError(28, "No space left on device")
        real(self, name, pieces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WholeFiles, "write_unsettled", full)
        yield


def leave_half(path):
    """What a killed process leaves of a file that it writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(dead_name(path.name)).write_bytes(b"half")


def dead_name(name):
    """`temporary_name` of a process that is gone."""
    machine, _, chance = temporary_name(name).removeprefix(f"{name}.").split(".")[:3]
    return f"{name}.{machine}.{_dead_process()}.{chance}.partial"


@functools.cache
def _dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid
