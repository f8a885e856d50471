"""What users are told in a paragraph, and what stays a traceback."""

import concurrent.futures
import contextlib
import importlib.util
import pickle

import numpy as np
import pytest

from tsl_jax.arguments import as_array, whole_number
from tsl_jax.curves import Sigmoid
from tsl_jax.messages import is_message
from tsl_jax.store import StoreError, open_losses
from tsl_jax.stream.outcomes import attempt, value_of

MISTAKES = """
def convert(text): return int(text)
def unpack(values): one, two = values
def add(values): return values + None
def broadcast(values): return np.zeros(3) + values
def cleaned(values):
    with contextlib.suppress(KeyError):
        try:
            one, two = values
        finally:
            values = None
def checked(value):
    with contextlib.suppress(KeyError):
        try:
            if value < 0: raise ValueError(f"value: got {value}, expected at least 0")
        finally:
            value = None
def wrapped(text):
    try: return int(text)
    except ValueError as error: raise ValueError(f"text: got {text!r}, expected a number") from error
"""


@pytest.fixture(scope="module")
def inside():
    """Functions as if the package had them."""
    spec = importlib.util.spec_from_loader("tsl_jax.not_there", None)
    module = importlib.util.module_from_spec(spec)
    module.np, module.contextlib = np, contextlib
    exec(MISTAKES, vars(module))
    return module


def error_of(function, *arguments):
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        function(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("name", "argument"),
    [("convert", "x"), ("unpack", (1, 2, 3)), ("unpack", 5), ("add", 1), ("broadcast", np.ones(4)), ("cleaned", (1,))],
)
def test_what_a_line_runs_into_is_a_mistake_in_the_package_too(inside, name, argument):
    assert not is_message(error_of(getattr(inside, name), argument))


@pytest.mark.parametrize(("name", "argument"), [("checked", -1), ("wrapped", "x")])
def test_what_the_package_raises_is_a_message(inside, name, argument):
    assert is_message(error_of(getattr(inside, name), argument))


def test_messages_of_the_package(tmp_path):
    assert is_message(error_of(whole_number, "rows", 0))
    assert is_message(error_of(as_array, "losses", [[1], [1, 2]]))
    assert is_message(error_of(Sigmoid, "sideways"))
    assert is_message(error_of(open_losses, tmp_path / "nothing"))
    assert is_message(error_of(open, tmp_path / "nothing"))


def test_the_same_of_another_thread_and_another_process(inside):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert is_message(error_of(pool.submit(inside.checked, -1).result))
        assert not is_message(error_of(pool.submit(inside.convert, "x").result))
        # Raised again where a task came from, a mistake stays one.
        outcomes = [
            pickle.loads(pickle.dumps(attempt(*task))) for task in ((inside.checked, -1), (inside.convert, "x"))
        ]
        errors = [error_of(value_of, outcome) for outcome in outcomes]
        assert [is_message(error) for error in errors] == [True, False]
        where, trace = errors[1].__notes__
        assert "In the worker" in where
        assert trace.endswith("invalid literal for int() with base 10: 'x'")
    # Pickled, an error loses its traceback, but not its class.
    assert is_message(StoreError("losses: gone"))


def test_what_users_raise_is_theirs():
    def own(_):
        raise ValueError("mine")

    assert not is_message(error_of(own, 1))
