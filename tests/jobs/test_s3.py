"""Fits from and to a real S3 server: the bytes of a local directory, whatever dies or is refused on the way."""

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from small_job import Job
from typer.testing import CliRunner

from tests.kills import tree
from tests.s3 import BUCKET, SLOW_DOWN, Proxy, environment, s3_server, wrong_credentials
from tsl_jax.cli import app
from tsl_jax.store import (
    BlockState,
    ChunkError,
    LockedError,
    StoreError,
    WriteError,
    lease,
    locate,
    open_fits,
    open_losses,
    validate,
    writer_lock,
)

obstore = pytest.importorskip("obstore")
pytest.importorskip("moto")

#: Fits in a process of its own, which stops itself when its third block is recorded, or has the whole output.
CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from small_job import Job, use_cheap_engine
use_cheap_engine()
print("fitting", flush=True)
kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done >= int(sys.argv[4]) else None
Job(sys.argv[2]).fit(sys.argv[3], progress=kill, **eval(sys.argv[5]))
"""
pytestmark = pytest.mark.usefixtures("cheap_engine")


@pytest.fixture(scope="module")
def server():
    with s3_server() as port:
        yield port


@pytest.fixture
def proxy(server, monkeypatch):
    """Between the server and all that is named by a URL."""
    with Proxy(server) as between:
        for name, value in environment(between.port).items():
            monkeypatch.setenv(name, value)
        yield between


@pytest.fixture
def place():
    """A part of the bucket of this test's own."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def far(proxy, place):
    """Losses on the server."""
    job = Job(f"{place}/losses.zarr")
    job.write()
    return job


@pytest.fixture
def expected(tmp_path):
    """Files of the same fits in a local directory."""
    job = Job(tmp_path / "losses.zarr")
    job.write()
    job.fit(tmp_path / "fits")
    return content(tree(tmp_path / "fits"))


def objects(url):
    """Every object of a place on the server with its bytes, leases apart."""
    store = locate(url).store.store
    names = [entry["path"] for batch in obstore.list(store) for entry in batch]
    return content({name: bytes(obstore.get(store, name).bytes()) for name in names if "/lease" not in name})


def content(files):
    """The same without what differs from place to place: what the store says of the objects of the losses."""
    return {name: content_of(name, data) for name, data in files.items()}


def content_of(name, data):
    """A record of the ledger is its entries but `input_objects` and the checksum of all."""
    if not name.startswith("ledger/c."):
        return data
    entries = np.frombuffer(data[:-4], "<i8")
    return [*entries[:3], *entries[4:-1]]


def child(source, target, kill_at=10**9, **options):
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), source, target, str(kill_at), repr(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_fits_have_the_bytes_of_a_local_directory(far, place, expected):
    fits = f"{place}/fits.zarr"
    assert far.fit(fits).blocks_run == 3
    assert objects(fits) == expected
    assert far.fit(fits).blocks_run == 0
    assert validate(fits) == validate(far.source) == []
    assert open_fits(fits).complete


def tsl(*arguments):
    """The command."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})


def test_the_command_tells_of_stores_on_the_server(far, place):
    far.fit(f"{place}/fits.zarr")
    told = tsl("info", "--json", f"{place}/fits.zarr")
    assert json.loads(told.stdout)["tokens"] == far.tokens
    assert tsl("validate", f"{place}/losses.zarr").exit_code == 0


def test_a_fit_that_was_killed_goes_on(far, place, expected, monkeypatch):
    fits = f"{place}/fits.zarr"
    with child(far.source, fits, kill_at=64) as process:
        assert process.wait(300) == -signal.SIGKILL
    assert np.count_nonzero(open_fits(fits).ledger.states == BlockState.FINISHED) in (1, 2)
    with pytest.raises(LockedError, match=r"free in \d+ s"):
        far.fit(fits)
    now = lease._now
    monkeypatch.setattr(lease, "_now", lambda: now() + lease.LEASE_SECONDS)
    assert far.fit(fits).blocks_run in (1, 2)
    assert objects(fits) == expected


def test_of_two_writers_the_second_is_refused(far, place, expected):
    fits, second = f"{place}/fits.zarr", []

    def other(done, _):
        if done and not second:
            with child(far.source, fits) as process:
                second.append(process.communicate(timeout=300)[1])

    assert far.fit(fits, progress=other).blocks_run == 3
    assert f"LockedError: {fits}: process {os.getpid()} " in second[0]
    assert objects(fits) == expected


def test_parts_share_the_output(far, place, expected):
    fits = f"{place}/fits.zarr"
    failed = []

    def fit(k):
        try:
            far.fit(fits, part=(k, 2))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=fit, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert objects(fits) == expected


def test_parts_that_refuse_each_other_try_again(job, tmp_path, monkeypatch):
    """Both ask for the output alone, so that neither makes it."""
    refused = []

    @contextlib.contextmanager
    def lock(target, *, shared=False):
        if not shared and not refused:
            refused.append(target)
            raise LockedError("the other part")
        with writer_lock(target, shared=shared) as held:
            yield held

    monkeypatch.setattr("tsl_jax.jobs.fit.job.writer_lock", lock)
    monkeypatch.setattr("tsl_jax.jobs.fit.job._LOOK", 0)
    job.fit(tmp_path / "fits", part=(0, 1))
    assert refused
    assert open_fits(tmp_path / "fits").complete


def test_a_part_that_loses_its_lease_says_so(job, tmp_path):
    def lose(done, _):
        if done:
            raise LockedError("the lease was lost")

    with pytest.raises(LockedError, match="the lease was lost"):
        job.fit(tmp_path / "fits", part=(0, 2), progress=lose)


def test_a_lease_is_made_only_if_none_is_there_and_read_back(proxy, place):
    location = locate(f"{place}/fits.zarr", writable=True)
    with writer_lock(location):
        asked = [(method, headers.get("if-none-match")) for method, path, headers in proxy.requests if "/lease" in path]
        assert asked == [("GET", None), ("PUT", "*"), ("GET", None)]


def test_of_two_that_find_no_lease_one_has_it(proxy, place):
    """The second's look comes before the first's lease, its own lease after it."""
    first, second = (locate(f"{place}/fits.zarr", writable=True) for _ in range(2))
    inside = []

    def let_the_other_in(method, path, _):
        if method == "PUT" and "lease" in path and not inside:
            inside.append(writer_lock(first))
            inside[0].__enter__()

    proxy.answer = let_the_other_in
    with pytest.raises(LockedError), writer_lock(second):
        pass
    inside[0].__exit__(None, None, None)


@pytest.mark.parametrize("how", ["busy", "slow"])
def test_throttling_and_slow_answers_cost_only_time(how, proxy, far, place, expected):
    fits = f"{place}/fits.zarr"
    if how == "slow":
        proxy.delay = 0.01
    else:
        proxy.answer = lambda method, path, number: (503, SLOW_DOWN) if number % 11 == 0 else None
    far.fit(fits)
    assert objects(fits) == expected


class Impatient:
    """The server without URLs, whose requests are tried twice at once, so that failures take no time."""

    def __init__(self, proxy, place):
        self._proxy, self._prefix = proxy, place.removeprefix(f"s3://{BUCKET}/")

    def __call__(self, name):
        store = obstore.store.S3Store(
            BUCKET,
            prefix=f"{self._prefix}/{name}",
            client_options={"allow_http": True},
            retry_config={"max_retries": 1, "backoff": {"init_backoff": datetime.timedelta(milliseconds=1)}},
        )
        from zarr.storage import ObjectStore

        return ObjectStore(store)


@pytest.mark.parametrize("part", ["sharpness/c/1", "ledger/c.1"])
def test_a_block_whose_writing_is_refused_does_not_count(part, proxy, far, place, expected):
    fits = Impatient(proxy, place)("fits.zarr")
    proxy.answer = lambda method, path, _: (503, SLOW_DOWN) if method == "PUT" and part in path else None
    with pytest.raises(WriteError, match=r"block 1.*503 Service Unavailable, SlowDown: .*Wait until") as said:
        far.fit(fits)
    assert "<" not in str(said.value)
    assert open_fits(fits).ledger.states[1] == BlockState.PENDING
    proxy.answer = lambda *_: None
    far.fit(fits)
    assert objects(f"{place}/fits.zarr") == expected


def test_losses_that_cannot_be_read_are_named_and_not_lost(proxy, far, place, expected):
    fits = f"{place}/fits.zarr"
    source = Job(Impatient(proxy, place)("losses.zarr"))
    proxy.answer = lambda method, path, _: (503, SLOW_DOWN) if method == "GET" and "losses/c/3" in path else None
    with pytest.raises(ChunkError, match=r"chunk losses/c/3/0.*503 Service Unavailable, SlowDown.*Wait until") as said:
        source.fit(fits)
    assert "<" not in str(said.value)
    assert "on_bad_chunk" not in str(said.value)
    proxy.answer = lambda *_: None
    far.fit(fits)
    assert objects(fits) == expected


@pytest.mark.parametrize("command", ["info", "validate", "fit"])
def test_wrong_credentials_are_told_in_a_paragraph(command, far, place, server):
    arguments = [f"{place}/losses.zarr", f"{place}/fits.zarr"][: 1 + (command == "fit")]
    with wrong_credentials(server):
        done = tsl(command, *arguments)
    assert done.exit_code != 0
    said = " ".join(done.stderr.split())
    assert "403 Forbidden, InvalidAccessKeyId" in said
    assert "Check the credentials" in said
    assert "<" not in said
    assert "Traceback" not in said


def test_a_bucket_that_is_not_there_is_named(far, place):
    missing = "s3://no-such-bucket/x.zarr"
    for act in (lambda: open_losses(missing), lambda: Job(missing).write(), lambda: far.fit(missing)):
        with pytest.raises(StoreError, match=r"404 Not Found, NoSuchBucket.*Make the bucket or give") as said:
            act()
        assert "<" not in str(said.value)
    done = tsl("fit", f"{place}/losses.zarr", missing)
    assert done.exit_code != 0
    assert "NoSuchBucket" in done.stderr
