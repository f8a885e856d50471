"""Fixtures for the tests of the temporal laws."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def loss_curves() -> Path:
    """Folder with real loss curves under nine learning-rate schedules, which lies outside the repository."""
    path = Path(__file__).parents[3] / "shared" / "data" / "loss_curves"
    if not path.exists():
        message = f"the real loss curves are not at {path}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
