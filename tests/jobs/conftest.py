"""Fixtures for the pipeline's tests."""

import pytest
from small_job import Job, use_cheap_engine


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path / "losses.zarr")
    job.write()
    return job


@pytest.fixture
def cheap_engine(monkeypatch):
    """An engine that compiles at once, for tests of all that is around it."""
    use_cheap_engine(monkeypatch.setattr)
