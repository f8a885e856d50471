"""Fixtures of the engine's tests."""

import pytest

from tsl_jax import FitOptions, Sigmoid
from tsl_jax.fitting import chosen_kernel, native

KERNELS = ("native", "xla")


@pytest.fixture(params=KERNELS, scope="module")
def each_kernel(request):
    """Every test of a module twice: with the kernel in C++, and as on a machine that has no compiler."""
    cause = native.why_missing()
    if request.param == "native" and cause:
        pytest.skip(f"the native kernel: {cause}")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "xla":
            patch.setattr(native, "why_missing", lambda backend: "this test does without it")
        assert chosen_kernel(Sigmoid(), FitOptions(), "float32") == request.param
        yield request.param
