"""What some tests need and not every machine has."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test with a reason; where everything must be there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
