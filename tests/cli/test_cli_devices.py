"""What commands make of the cores of a CPU."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from tsl_jax.cli.devices import chosen_devices
os.sched_setaffinity(0, range(os.cpu_count()))
assert chosen_devices(None) is None
import jax
print(len(jax.local_devices()), len(chosen_devices(1)))
"""


def numbers(**settings) -> list[int]:
    named = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    env = {key: value for key, value in os.environ.items() if key not in named} | settings
    env["JAX_PLATFORMS"] = "cpu"
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(word) for word in done.stdout.split()]


def test_every_core_is_a_device():
    assert numbers() == [min(os.cpu_count() or 1, 16), 1]


@pytest.mark.parametrize(
    "settings",
    [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}],
    ids=["jax", "xla"],
)
def test_a_number_that_is_set_stays(settings):
    assert numbers(**settings) == [3, 1]
