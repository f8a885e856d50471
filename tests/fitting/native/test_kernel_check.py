"""On a GPU the native kernel is taken of itself where it was seen to do what XLA's does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import AXIS, SIGMOID, noisy, options_of
from tests.needed import missing
from tsl_jax import FitOptions, fit, load_kernel
from tsl_jax.fitting import chosen_kernel, kernel_check, kernel_choice, native
from tsl_jax.fitting.kernel_check import CURVES, difference, doubt_about_kernel
from tsl_jax.fitting.native import call, tried


@pytest.fixture(autouse=True)
def _kernel():
    if cause := native.why_missing():
        missing(f"the native kernel: {cause}")


@pytest.fixture
def device(monkeypatch, tmp_path):
    """A device that has never been looked at, the CPU; what is compared on it is noted."""
    compared = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernel_check, "difference", lambda family, options: compared.append(options.kernel))
    doubt_about_kernel.cache_clear()
    yield compared
    doubt_about_kernel.cache_clear()


@pytest.fixture
def gpu(monkeypatch, device):
    """The CPU as a GPU, for those who choose."""
    monkeypatch.setattr(kernel_choice, "_TRIED", set())
    monkeypatch.setattr(native, "why_missing", lambda backend: None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    local_devices = jax.local_devices
    monkeypatch.setattr(jax, "local_devices", lambda backend=None: local_devices())
    return device


@pytest.mark.parametrize("broken", ["solve_block", "measure"])
def test_one_lane_of_a_warp_that_is_wrong_is_seen(monkeypatch, broken):
    monkeypatch.setitem(native.TARGETS, broken, native.TARGETS["native"])
    right, lane = (
        getattr(call, broken),
        np.arange(CURVES) % 32 == 5 if broken == "solve_block" else np.arange(CURVES) < 64,
    )

    def wrong(*arguments):
        return tuple(jnp.where(lane & (a != 0), (1.1 * a).astype(a.dtype), a) for a in right(*arguments))

    monkeypatch.setattr(call, broken, wrong)
    told = difference(SIGMOID, options_of(broken))
    assert told is not None
    assert ("end elsewhere than with XLA" if broken == "solve_block" else "is not that of XLA") in told


def test_what_agreed_is_kept_for_one_device_driver_and_build(device, monkeypatch):
    for _ in range(2):
        assert doubt_about_kernel(SIGMOID, "cpu") is None
        doubt_about_kernel.cache_clear()  # as in another process
    assert device == ["native"]
    monkeypatch.setattr(tried, "build_of", lambda platform: "another build")
    doubt_about_kernel(SIGMOID, "cpu")
    assert device == ["native"] * 2


def test_a_difference_is_not_kept(device, monkeypatch):
    monkeypatch.setattr(
        kernel_check, "difference", lambda family, options: device.append(options.kernel) or "7% end elsewhere"
    )
    for _ in range(2):
        assert doubt_about_kernel(SIGMOID, "cpu") == "7% end elsewhere"
        doubt_about_kernel.cache_clear()
    assert device == ["native"] * 2


def test_a_gpu_gets_it_where_it_agrees(gpu, monkeypatch):
    assert chosen_kernel(SIGMOID, FitOptions(), jnp.float32) == "native"
    assert load_kernel() is None
    monkeypatch.setattr(kernel_choice, "doubt_about_kernel", lambda *_: "7% end elsewhere")
    assert chosen_kernel(SIGMOID, FitOptions(), jnp.float32) == "xla"
    assert load_kernel() == "; ".join(f"{name}: 7% end elsewhere" for name in ("sigmoid", "hyperbola", "power_law"))
    assert chosen_kernel(SIGMOID, FitOptions(kernel="native"), jnp.float32) == "native"  # who asks for it gets it


def test_nothing_is_tried_while_a_program_is_traced(gpu):
    options = FitOptions(block_size=64)
    jax.make_jaxpr(lambda y: fit(SIGMOID, AXIS, y, options=options).rss)(noisy())
    assert not gpu
