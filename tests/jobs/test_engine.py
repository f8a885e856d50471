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

summary = Job(sys.argv[2]).fit(sys.argv[3])
assert summary.devices == sys.argv[4], summary.devices
"""


def test_four_devices_give_the_bits_of_one(job, tmp_path, tree):
    """Blocks of 64 tokens in engine blocks of 32: padded to 128 rows, one engine block a device.

    Each device has one thread: with several XLA writes another program, and its cache does not tell the two apart.
    """
    for number in (1, 4):
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(job.source)]
        env = os.environ | {"JAX_NUM_CPU_DEVICES": str(number), "NPROC": str(number), "JAX_PLATFORMS": "cpu"}
        env |= {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        subprocess.run([*command, str(tmp_path / str(number)), f"{number} x cpu"], check=True, env=env)
    assert tree(tmp_path / "4") == tree(tmp_path / "1")
    assert open_fits(tmp_path / "4").complete


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
