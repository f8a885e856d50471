"""A small loss store, the command in this process, and one run of the demo for all tests."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from tsl_jax.cli import app
from tsl_jax.store import create_losses

STEP = np.array([0, *np.round(np.geomspace(1, 1000, 11))])
TOKENS = 150
#: Blocks of 64 tokens, and one compiled program for all tests that fit.
QUICK = ("--max-steps", "8", "--block-size", "32", "--memory", "43KB")


@pytest.fixture
def tsl():
    """The command: arguments -> exit code, stdout, stderr, and stdout as JSON where --json was given."""

    def tsl(*arguments):
        arguments = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
        said = json.loads(result.stdout) if "--json" in arguments and result.stdout else None
        return SimpleNamespace(
            code=result.exit_code, out=result.stdout, err=result.stderr, json=said, error=result.exception
        )

    return tsl


def write_losses(path):
    rng = np.random.default_rng(5)
    middle, slope = rng.uniform(-1, 8, (TOKENS, 1)), rng.uniform(0.5, 5, (TOKENS, 1))
    losses = 2 + 6 / (1 + np.exp(np.minimum(slope * (np.log(np.maximum(STEP, 0.1)) - middle), 80)))
    losses += rng.normal(0, 0.1, losses.shape)
    losses[:30, 4] = np.nan
    return create_losses(
        path,
        losses.astype("float16"),
        checkpoints={"step": STEP, "tokens_seen": STEP * 4096},
        tokens={"domain": np.arange(TOKENS, dtype="int8") % 3},
        attributes={"domains": ["a", "b", "c"], "title": "Planted sigmoids [no run]"},
        chunk_tokens=16,
        shard_tokens=32,
    )


@pytest.fixture
def losses(tmp_path):
    write_losses(tmp_path / "losses.zarr")
    return tmp_path / "losses.zarr"


@pytest.fixture
def quick():
    return QUICK


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """`tsl demo --json` as a process of its own, once."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "tsl_jax.cli", "demo", "--out", "out", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    return SimpleNamespace(folder=folder, code=done.returncode, out=done.stdout, err=done.stderr)
