"""The same fits under jit, vmap and shard_map, on one device and on four."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.fitting.planted import (
    AXIS,
    CHECKPOINTS,
    ONE_START,
    SIGMOID,
    assert_same_minimum,
    fitter,
    noisy,
)
from tsl_jax import fit

pytestmark = pytest.mark.usefixtures("each_kernel")


def fit_row(row):
    return fit(SIGMOID, AXIS, row, options=ONE_START)


def test_nested_vmap_over_single_curves():
    axes = (4, 4)
    mapped = jax.vmap(jax.vmap(fit_row))
    found = jax.jit(mapped)(noisy().reshape(*axes, CHECKPOINTS))
    assert found.rss.shape == axes
    assert_same_minimum(jax.tree.map(lambda a: np.asarray(a).reshape(-1), found), fitter()(noisy()))


def test_the_axis_may_be_traced():
    # Then nothing can be said about its values beforehand, and float32 is all it has.
    call = jax.jit(lambda time, y: fit(SIGMOID, time, y, options=ONE_START))
    assert_same_minimum(jax.tree.map(np.asarray, call(AXIS, noisy())), fitter()(noisy()))


SHARDED = """
import jax, numpy as np
from jax.sharding import Mesh, PartitionSpec as P
from tests.fitting.planted import AXIS, SIGMOID, assert_same_minimum, fitter, noisy
from tsl_jax import FitOptions, fit, load_kernel

assert len(jax.devices()) == 4
mesh, specs = Mesh(np.asarray(jax.devices()), ("token",)), {"in_specs": P("token"), "out_specs": P("token")}
options = FitOptions(starts=1, kernel=KERNEL)
assert KERNEL == "xla" or load_kernel() is None
for check_vma in (True, False):
    sharded = jax.shard_map(
        lambda y: fit(SIGMOID, AXIS, y, options=options), mesh=mesh, check_vma=check_vma, **specs
    )
    found = jax.jit(sharded)(noisy())
    assert len(found.rss.sharding.device_set) == 4
    assert_same_minimum(jax.tree.map(np.asarray, found), fitter(options=options)(noisy()))
"""


def test_shard_map_over_four_devices(pytestconfig, each_kernel):
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", SHARDED.replace("KERNEL", repr(each_kernel))]
    done = subprocess.run(command, env=env, cwd=pytestconfig.rootpath, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
