"""How much is tried, and from which seed: a little and always the same in `make test`, much and anew in `make fuzz`."""

import os
import random
import secrets

import pytest

#: Cases of every test in `make test`, which takes seconds.
SHORT = 15


@pytest.fixture(scope="session")
def cases():
    """How many cases each test tries."""
    return int(os.environ.get("TSL_FUZZ", SHORT))


@pytest.fixture
def seed(cases, request, capsys):
    """The seed of a test: ``TSL_FUZZ_SEED``, or a new one in a long run, which is printed."""
    found = int(os.environ.get("TSL_FUZZ_SEED", secrets.randbelow(2**32) if cases > SHORT else 1))
    with capsys.disabled():
        if cases > SHORT:
            print(f"\n{request.node.name}: TSL_FUZZ_SEED={found}", flush=True)
    return found


@pytest.fixture
def choice(seed):
    """Random choices."""
    return random.Random(seed)
