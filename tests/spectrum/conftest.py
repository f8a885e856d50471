"""Settings for the spectrum's tests."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def always_quick_to_compile(quick_to_compile):
    """Every file here has tiny arrays."""
