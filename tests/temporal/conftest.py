"""Fixtures for the tests of the temporal laws."""

from pathlib import Path

import pytest

from tests.needed import missing


@pytest.fixture(scope="session")
def loss_curves() -> Path:
    """Folder with real loss curves under nine learning-rate schedules, which lies outside the repository."""
    path = Path(__file__).parents[3] / "shared" / "data" / "loss_curves"
    if not path.exists():
        missing(f"the real loss curves are not at {path}")
    return path
