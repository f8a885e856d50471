"""The real engine: streamed is in memory, and all local devices give the bits of one."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small_job import STEPS

from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import FitOptions, NoiseModel, fit
from tsl_jax.jobs.fit.columns import fit_columns
from tsl_jax.store import open_fits

pytestmark = pytest.mark.usefixtures("optimised")

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import jax
from small_job import Job

assert len(jax.local_devices()) == 4
summary = Job(sys.argv[2]).fit(sys.argv[3])
assert summary.devices == "4 x cpu", summary.devices
"""


def test_four_devices_give_the_bits_of_one(job, tmp_path, tree):
    """Blocks of 64 tokens in engine blocks of 32: padded to 128 rows, one engine block a device."""
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(Path(__file__).parent),
        str(job.source),
        str(tmp_path / "four"),
    ]
    # As many threads for each device as the one here has: the ledger says so.
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu", "NPROC": str(4 * (os.cpu_count() or 1))}
    subprocess.run(command, check=True, env=env)
    job.fit(tmp_path / "one")
    assert tree(tmp_path / "four") == tree(tmp_path / "one")
    assert open_fits(tmp_path / "four").complete


def test_streamed_is_in_memory(job, tmp_path):
    job.fit(tmp_path / "fits")
    options = FitOptions(block_size=32, max_steps=8)
    fits = open_fits(tmp_path / "fits")
    recorded = fits.attributes["noise"]
    shared = None if recorded is None else NoiseModel.from_dict(recorded)
    fitted = jax.jit(lambda rows, noise: fit(Sigmoid(), STEPS, rows, options=options, noise=noise))(
        job.values(), shared
    )
    for name, values in fit_columns(fitted).items():
        # Programs for other numbers of rows may round the last bit of an error otherwise.
        last_bits = 2 * np.finfo(np.float32).eps if name.endswith("_stderr") else 0
        np.testing.assert_allclose(fits.arrays[name][:], np.asarray(values), rtol=last_bits, err_msg=name)
