"""Killed at any moment and run again, the job ends with the bits of an uninterrupted one."""

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from small_job import Job

from tsl_jax.curves import Hyperbola, Sigmoid
from tsl_jax.fitting import FitOptions
from tsl_jax.jobs import fit_store
from tsl_jax.store import ChangedError, ChunkError, LockedError, open_fits

pytestmark = pytest.mark.usefixtures("cheap_engine")


def test_killed_at_any_write_and_resumed_is_uninterrupted(tmp_path, kill_at, tree):
    job = Job(tmp_path / "losses.zarr", tokens=70, coordinates=False)
    job.write()
    count = kill_at(tmp_path / "whole", 0)
    job.fit(tmp_path / "whole", Hyperbola())
    whole, writes = tree(tmp_path / "whole"), count()
    assert writes > 2 * 13 + 13
    for k in range(1, writes + 1):
        path = tmp_path / f"killed{k}"
        kill_at(path, k)
        with pytest.raises(kill_at.error):
            job.fit(path, Hyperbola())
        kill_at(path, 0)
        other_memory = {"memory": 10**9} if k > 1 else {}  # the layout stays once it is written
        summary = job.fit(path, Hyperbola(), **other_memory)
        assert tree(path) == whole
        assert sum(summary.status_counts.values()) == job.tokens


CHILD = """
import sys
import zipfile
sys.path.insert(0, sys.argv[1])
from small_job import Job, use_cheap_engine

use_cheap_engine()

def progress(done, total):
    print(done, flush=True)
    if done >= 64:
        sys.stdin.read()  # waits to be killed, while the other stages go on

Job(sys.argv[2]).fit(sys.argv[3], progress=progress)
"""


def test_a_second_run_is_refused_and_a_sigkill_frees_the_output(job, tmp_path, tree):
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(Path(__file__).parent),
        str(job.source),
        str(tmp_path / "killed"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        assert process.stdout.readline() == "64\n"
        with pytest.raises(LockedError, match=f"process {process.pid}"):
            job.fit(tmp_path / "killed")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    summary = job.fit(tmp_path / "killed")
    assert 0 <= summary.blocks_run < 3
    job.fit(tmp_path / "whole")
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": FitOptions(block_size=32, max_steps=9)}, "options.max_steps: was 8, now 9"),
        ({"family": Sigmoid(scale="linear")}, "scale: was 'log', now 'linear'"),
        ({"axis": "tokens_seen"}, "axis: was 'step', now 'tokens_seen'"),
    ],
)
def test_other_options_are_refused(job, tmp_path, changes, words):
    job.fit(tmp_path / "fits")
    with pytest.raises(ChangedError, match=words):
        job.fit(tmp_path / "fits", **changes)
    assert job.fit(tmp_path / "fits", **changes, overwrite=True).blocks_run == 3


def test_other_losses_are_refused(job, tmp_path):
    job.fit(tmp_path / "fits")
    zarr.open_group(job.source, mode="r+")["losses"][40] = 1.5
    with pytest.raises(ChangedError, match="data of tokens 0 to 63"):
        job.fit(tmp_path / "fits")


def test_an_unfinished_store_opens_and_says_so(job, tmp_path, kill_at):
    count = kill_at(tmp_path / "whole", 0)
    job.fit(tmp_path / "whole")
    kill_at(tmp_path / "fits", count() - 1)
    with pytest.raises(kill_at.error):
        job.fit(tmp_path / "fits")
    fits = open_fits(tmp_path / "fits")
    assert not fits.complete
    status = fits.read().status
    done = np.repeat(fits.ledger.states == 1, 64)[:150]
    assert not np.any(status[done] == 255)


def test_finished_fits_that_are_read_only_are_run_again(job, tmp_path, kill_at, tree):
    job.fit(tmp_path / "fits")
    whole = tree(tmp_path / "fits")
    with zipfile.ZipFile(tmp_path / "fits.zip", "w") as archive:
        for file in whole:
            archive.write(tmp_path / "fits" / file, file)
    (tmp_path / "fits/ledger/.lock").unlink()
    (tmp_path / "fits/ledger/.lock").mkdir()  # a lock could not be taken
    kill_at(tmp_path / "fits", 1)
    for place in (tmp_path / "fits", tmp_path / "fits.zip"):
        summary = job.fit(place)
        assert (summary.blocks_run, summary.complete, sum(summary.status_counts.values())) == (0, True, 150)
        with pytest.raises(ChangedError, match=r"options.max_steps: was 8, now 9"):
            job.fit(place, options=FitOptions(block_size=32, max_steps=9))


@pytest.mark.parametrize("damage", ["lost", "empty", "flipped"])
def test_damaged_fits_are_fitted_anew_and_said(job, tmp_path, tree, damage):
    job.fit(tmp_path / "fits")
    whole, file = tree(tmp_path / "fits"), tmp_path / "fits/sharpness/c/1"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 8
    file.write_bytes(b"" if damage == "empty" else bytes(data))
    if damage == "lost":
        file.unlink()
    if damage == "flipped":
        assert job.fit(tmp_path / "fits").blocks_run == 0
    summary = job.fit(tmp_path / "fits", deep=damage == "flipped")
    assert (summary.blocks_run, summary.complete) == (1, True)
    (said,) = summary.repaired
    assert "sharpness/c/1" in said
    assert tree(tmp_path / "fits") == whole


def test_missing_chunks_are_refused_before_anything_is_fitted_or_taken_as_said(job, tmp_path):
    (tmp_path / "losses.zarr/losses/c/2/0").unlink()
    (tmp_path / "losses.zarr/losses/c/4/0").unlink()
    with pytest.raises(ChunkError, match=r"2 chunks are lost or empty: .*losses/c/2/0.*losses/c/4/0"):
        job.fit(tmp_path / "fits")
    assert not (tmp_path / "fits").exists()
    assert job.fit(tmp_path / "fits", missing_chunks="as-nan").complete
    fits = open_fits(tmp_path / "fits").read()
    lost = np.isin(np.arange(150) // 32, (2, 4))
    assert np.all(fits.num_points[lost] == 0)
    assert np.all(fits.num_points[~lost][9:] > 0)  # of the first nine, two are missing altogether
    with pytest.raises(ValueError, match=r"missing_chunks: got 'nan'"):
        job.fit(tmp_path / "other", missing_chunks="nan")


def test_overwriting_begins_anew(job, tmp_path, tree):
    job.fit(tmp_path / "fits", options=FitOptions(block_size=32, max_steps=3))
    assert job.fit(tmp_path / "fits", overwrite=True).blocks_run == 3
    job.fit(tmp_path / "whole")
    assert tree(tmp_path / "fits") == tree(tmp_path / "whole")


def test_fit_store_takes_default_options(job, tmp_path):
    summary = fit_store(job.source, tmp_path / "fits", Sigmoid())
    assert (summary.blocks, summary.tokens) == (1, 150)
