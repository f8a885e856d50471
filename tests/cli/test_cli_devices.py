"""What commands make of the cores of a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from tsl_jax.cli.devices import chosen_devices
os.sched_setaffinity(0, range(os.cpu_count()))
number = int(sys.argv[1]) or None
assert len(chosen_devices(number) or []) == int(sys.argv[1])
import jax
print(len(jax.local_devices()), len(chosen_devices(1)), os.environ.get("NPROC", 0))
"""


def numbers(asked: int = 0, **settings) -> list[int]:
    named = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS", "NPROC")
    env = {key: value for key, value in os.environ.items() if key not in named} | settings
    env["JAX_PLATFORMS"] = "cpu"
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(asked)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(word) for word in done.stdout.split()]


def test_every_core_is_a_device_with_a_thread():
    cores = min(os.cpu_count() or 1, 16)
    assert numbers() == [cores, 1, cores]


def test_no_more_devices_than_asked_for_are_made():
    assert numbers(asked=1) == [1, 1, 1]


def test_a_number_of_threads_that_is_set_stays():
    assert numbers(NPROC="5")[2] == 5


@pytest.mark.parametrize(
    "settings",
    [{"JAX_NUM_CPU_DEVICES": "3"}, {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}],
    ids=["jax", "xla"],
)
def test_a_number_that_is_set_stays(settings):
    assert numbers(**settings) == [3, 1, 0]


@pytest.mark.parametrize("words", [("fit", "losses.zarr", "fits.zarr"), ("simulate", "student", "run.csv")])
@pytest.mark.parametrize("platform", ["cuda", "no-such-kind"])
def test_a_kind_of_device_that_is_not_here_is_told(losses, tmp_path, words, platform):
    if platform == "cuda" and Path("/proc/driver/nvidia").exists():
        pytest.skip("there is a GPU")
    assert losses == tmp_path / "losses.zarr"
    command = [sys.executable, "-m", "tsl_jax.cli", *words, "--json"]
    env = os.environ | {"JAX_PLATFORMS": platform}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    message = json.loads(done.stdout)["error"]["message"]
    assert message.startswith(f"JAX_PLATFORMS={platform}: JAX finds no such device here")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "fits.zarr").exists()
