"""Fixtures for the pipeline's tests."""

from pathlib import Path

import pytest
from small_job import Job, use_cheap_engine
from zarr.storage import LocalStore


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path / "losses.zarr")
    job.write()
    return job


@pytest.fixture
def tree():
    """Every file of a store with its bytes, the lock apart."""

    def tree(path):
        return {
            str(file.relative_to(path)): file.read_bytes()
            for file in sorted(path.rglob("*"))
            if file.is_file() and file.name != ".lock"
        }

    return tree


@pytest.fixture
def cheap_engine(monkeypatch):
    """An engine that compiles at once, for tests of all that is around it."""
    use_cheap_engine(monkeypatch.setattr)


class Killed(Exception):
    pass


@pytest.fixture
def kill_at(monkeypatch):
    """Makes the k-th write under ``root``, and all after it, fail as if the process were gone."""
    real = LocalStore.set

    def arm(root: Path, k: int):
        count = 0

        async def set_(self, key, value):
            nonlocal count
            if root in [self.root, *self.root.parents]:
                count += 1
                if count >= k > 0:
                    raise Killed
            await real(self, key, value)

        monkeypatch.setattr(LocalStore, "set", set_)
        return lambda: count

    arm.error = Killed
    return arm
