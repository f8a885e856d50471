"""Settings for the spectrum's tests."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def quick_to_compile():
    """Compiling is what costs time in these tests; their arrays are tiny."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
