"""Fixtures for the pipeline's tests."""

import pytest
from small_job import Job, use_cheap_engine, with_path


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path / "losses.zarr")
    job.write()
    return job


@pytest.fixture
def cheap_engine(monkeypatch):
    """An engine that compiles at once, for tests of all that is around it."""
    use_cheap_engine(monkeypatch.setattr)


@pytest.fixture(scope="module")
def client():
    """A Dask client of two workers, which their nannies start again when they are killed; they find `small_job`."""
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", with_path()["PYTHONPATH"])
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
