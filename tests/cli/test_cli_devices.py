"""What commands make of the cores of a CPU."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
from tsl_jax.cli.devices import chosen_devices
print(len(chosen_devices(None)), len(chosen_devices(1)), len(chosen_devices(None)))
"""


def numbers(**settings) -> list[int]:
    named = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    env = {key: value for key, value in os.environ.items() if key not in named} | settings
    env["JAX_PLATFORMS"] = "cpu"
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(word) for word in done.stdout.split()]


def test_every_core_is_a_device():
    cores = min(len(os.sched_getaffinity(0)), 16)
    assert numbers() == [cores, 1, cores]


@pytest.mark.parametrize(
    "settings",
    [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}],
    ids=["jax", "xla"],
)
def test_a_number_that_is_set_stays(settings):
    assert numbers(**settings) == [3, 1, 3]
