"""The same fits under jit, vmap and shard_map, on one device and on four, and where sharded arrays lie."""

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
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
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

# Under jit alone: each device fits the rows that lie there, and none are moved.
y = jax.device_put(np.asarray(noisy()), NamedSharding(mesh, P("token")))
weights = jax.device_put(np.ones(y.shape, "float32"), NamedSharding(mesh, P(None, "token")))  # lies otherwise
program = jax.jit(lambda y, w: fit(SIGMOID, AXIS, y, w, options=options)).lower(y, weights).compile()
assert program.as_text().count("all-gather") == 0
assert all(a.sharding.is_equivalent_to(y.sharding, a.ndim) for a in jax.tree.leaves(program(y, weights)))
assert_same_minimum(jax.tree.map(np.asarray, program(y, weights)), fitter(options=options)(noisy()))
"""


def test_four_devices(pytestconfig, each_kernel):
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", SHARDED.replace("KERNEL", repr(each_kernel))]
    done = subprocess.run(command, env=env, cwd=pytestconfig.rootpath, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
