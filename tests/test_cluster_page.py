"""docs/how-to/cluster.md keeps its word: what can run on one machine runs."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from tests.kills import tree
from tests.pages import pages
from tsl_jax.curves import Sigmoid
from tsl_jax.jobs import fit_store
from tsl_jax.store import create_losses, open_fits

BLOCKS = pages()["docs/how-to/cluster"].blocks
TOKENS = 50_000


def the_block(kind, *words):
    """The one block that holds all these words."""
    (found,) = [text for name, text in BLOCKS if name == kind and all(word in text for word in words)]
    return found


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """Losses in a few blocks, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("cluster")
    rng, step = np.random.default_rng(0), np.geomspace(10, 1e4, 16)
    truth = {"learning_time": np.exp(rng.uniform(3, 8, TOKENS)), "sharpness": 3.0, "loss_drop": 4.0, "final_loss": 1.0}
    truth = {name: np.broadcast_to(value, TOKENS)[:, None] for name, value in truth.items()}
    values = np.asarray(Sigmoid().curve(step, truth)) + rng.normal(0, 0.1, (TOKENS, 16))
    create_losses(folder / "losses.zarr", values.astype("float16"), checkpoints={"step": step}, chunk_tokens=1000)
    return folder / "losses.zarr"


@pytest.fixture
def folder(losses, tmp_path, monkeypatch):
    """Where a reader stands: `losses.zarr` is there, and so are the commands."""
    (tmp_path / "losses.zarr").symlink_to(losses)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, module in (("tsl", "tsl_jax.cli"), ("dask", "dask"), ("srun", None), ("python", "")):
        words = [] if module is None else [sys.executable, *(["-m", module] if module else [])]
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command, **environment):
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def finished(folder):
    fits = open_fits(folder / "fits.zarr")
    return fits.complete and fits.num_tokens == TOKENS


def test_workers_on_a_laptop_write_what_one_process_writes(folder):
    pytest.importorskip("distributed")
    fit_store("losses.zarr", "alone.zarr", Sigmoid())
    run("sh", "-c", the_block("sh", "tsl fit", "--workers 2"))
    assert finished(folder)
    assert tree(folder / "fits.zarr").keys() == tree(folder / "alone.zarr").keys()


def test_a_pool_of_processes(folder):
    (folder / "fit.py").write_text(the_block("python", "ProcessPoolExecutor"))
    said = run(sys.executable, "fit.py")
    assert f"{TOKENS:,} tokens, {TOKENS:,} of them now, 2 at a time" in said
    assert finished(folder)


def test_the_tasks_of_an_array(folder):
    script = the_block("sh", "--array=0-63")
    (folder / "job.sh").write_text(script)
    run("sh", "job.sh", SLURM_ARRAY_TASK_ID="0")
    blocks = len(open_fits(folder / "fits.zarr").ledger.states)
    assert blocks > 2
    task = -(-64 * 2 // blocks) - 1  # the part with the second block
    run("sh", "job.sh", SLURM_ARRAY_TASK_ID=str(task))
    np.testing.assert_array_equal(np.flatnonzero(open_fits(folder / "fits.zarr").ledger.states), [1])
    run("sh", "-c", the_block("sh", "--mixed-hardware"))
    assert finished(folder)


def test_a_scheduler_and_workers(folder):
    """The page's three lines; its two servers are ended when the fits are finished."""
    pytest.importorskip("distributed")
    *servers, fit = the_block("sh", "dask scheduler").splitlines()
    started = [subprocess.Popen(shlex.split(line.removesuffix("&")), stderr=subprocess.DEVNULL) for line in servers]
    try:
        while not (folder / "scheduler.json").exists():
            assert started[0].poll() is None
        run("sh", "-c", fit)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
    assert finished(folder)


def test_the_tasks_of_a_slurm_job(folder):
    pytest.importorskip("dask_jobqueue")
    pytest.importorskip("distributed")
    (folder / "fit.py").write_text(the_block("python", "SLURMRunner"))
    script = the_block("sh", "srun python fit.py")
    assert re.search(r"--ntasks=66\b", script)
    known = {"SLURM_NTASKS": "3", "SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "1"}
    started = [
        subprocess.Popen(["sh", "-c", script], env=os.environ | known | {"SLURM_PROCID": str(task)})
        for task in range(3)
    ]
    assert started[1].wait(300) == 0
    for process in started:
        process.wait(60)
    assert finished(folder)


def test_a_mixture_of_kinds_is_refused_and_allowed(folder, monkeypatch):
    """What the page says of machines of several kinds, in one process."""
    from tsl_jax.jobs.fit import hardware
    from tsl_jax.store import ChangedError

    fit_store("losses.zarr", "fits.zarr", Sigmoid(), part=(0, 2))
    monkeypatch.setattr(hardware, "instruction_level", lambda: "another")
    with pytest.raises(ChangedError, match="mixed_hardware=True"):
        fit_store("losses.zarr", "fits.zarr", Sigmoid())
    assert fit_store("losses.zarr", "fits.zarr", Sigmoid(), mixed_hardware=True).pending == 0
