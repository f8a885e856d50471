"""The examples in the docstrings of the stores and the pipeline run."""

import doctest
import importlib
import pkgutil

import pytest

import tsl_jax.pipeline
import tsl_jax.store

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (tsl_jax.store, tsl_jax.pipeline)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize("package", [tsl_jax.store, tsl_jax.pipeline])
def test_everything_public_is_documented(package):
    for name in package.__all__:
        value = getattr(package, name)
        assert not callable(value) or getattr(value, "__doc__", None), name
