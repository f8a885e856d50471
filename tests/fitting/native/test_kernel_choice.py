"""The kernel is chosen before anything is traced: nothing is built or loaded while JAX traces a program."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import tsl_jax
from tests.fitting.planted import AXIS, SIGMOID, noisy
from tests.needed import missing
from tsl_jax import FitOptions, fit, load_kernel, noise_model, profile_interval
from tsl_jax.fitting import native
from tsl_jax.fitting.native import building


@pytest.fixture
def not_asked(monkeypatch):
    """As in a process that has loaded no kernel; what is asked for then is noted."""
    asked, why_missing = [], native.why_missing
    if cause := why_missing():
        missing(f"the native kernel: {cause}")
    monkeypatch.setattr(native, "was_asked", lambda backend: bool(asked))
    monkeypatch.setattr(native, "why_missing", lambda backend: asked.append(backend) or why_missing(backend))
    return asked


def program_of(options=FitOptions(), function=fit):
    """The text of a program that fits."""

    def call(losses):
        if function is profile_interval:
            return profile_interval(SIGMOID, AXIS, losses, "learning_time", options=options)
        return fit(SIGMOID, AXIS, losses, options=options)

    return jax.jit(call).lower(noisy()).as_text()


@pytest.mark.parametrize("function", [fit, profile_interval])
def test_a_traced_fit_takes_the_kernel_that_is_there(not_asked, function):
    assert native.SOLVE not in program_of(function=function)
    assert not not_asked
    assert load_kernel() is None
    assert not_asked == [jax.default_backend()]
    assert native.SOLVE in program_of(function=function)  # though nothing was cleared


def test_a_traced_fit_of_constants_loads_nothing_either(not_asked):
    losses = noisy()
    jax.jit(lambda: fit(SIGMOID, AXIS, losses)).lower()
    jax.make_jaxpr(lambda unit: fit(SIGMOID, AXIS, losses).rss * unit)(1.0)
    assert not not_asked


def test_the_native_kernel_cannot_be_asked_for_before_it_is_there(not_asked):
    with pytest.raises(ValueError, match=r"got 'native', but it is not loaded.*call tsl_jax\.load_kernel\(\) before"):
        program_of(FitOptions(kernel="native"))
    assert not not_asked
    load_kernel()
    assert native.SOLVE in program_of(FitOptions(kernel="native"))


def test_vmap_and_grad_alone_trace_no_program(not_asked):
    jax.vmap(lambda y: fit(SIGMOID, AXIS, y).rss)(noisy())
    assert not_asked


def test_fits_that_are_not_traced_load_it(not_asked):
    noise_model(SIGMOID, AXIS, np.concatenate([noisy(k) for k in range(8)]))
    assert not_asked


def test_other_devices_are_told(monkeypatch):
    assert "the default device is a tpu" in (load_kernel("tpu") or "")
    monkeypatch.setattr(native, "why_missing", lambda backend: f"asked for {backend}")
    assert load_kernel("gpu") == "asked for gpu"


FIRST_UNDER_JIT = """
import jax
from tests.fitting.planted import AXIS, SIGMOID, noisy
from tsl_jax import fit
jax.jit(lambda y: fit(SIGMOID, AXIS, y)).lower(noisy())
"""


def test_a_process_that_only_traces_builds_nothing(monkeypatch, tmp_path):
    if building.compiler_of(building.CPU) is None:
        missing(building.no_compiler(building.CPU))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = Path(tsl_jax.__file__).parents[1]
    subprocess.run([sys.executable, "-W", "error", "-c", FIRST_UNDER_JIT], check=True, cwd=root)
    assert not list(tmp_path.iterdir())
