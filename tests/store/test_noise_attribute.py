"""What a fit store says of its noise is checked without the engine; the two know the same fields."""

import dataclasses

import pytest

from tsl_jax.fitting import NoiseModel
from tsl_jax.store.schema import NOISE_FIELDS, noise_fault

WHOLE = {"time": [1.0, 2.0, 4.0], "std": [1, 1.0, 1.0], "correlation": [0.5, 0.5], "lag_mean": 0.5,
         "lag_variance": 0.1, "growth_mean": 0, "growth_variance": 0.0}  # fmt: skip


def test_the_fields_are_those_of_the_engine():
    assert list(NOISE_FIELDS) == [field.name for field in dataclasses.fields(NoiseModel)]
    assert noise_fault(WHOLE) is None
    assert noise_fault(NoiseModel.from_dict(WHOLE).as_dict()) is None
    assert noise_fault(None) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": [1.0, 1.0]},
        {"correlation": [0.5, 0.5, 0.5]},
        {"correlation": 0.5},
        {"lag_mean": [0.5]},
        {"lag_mean": True},
        {"lag_mean": None},
        {"lag_mean": float("inf")},
        {"growth_mean": 10**400},
        {"std": [1.0, "1", 1.0]},
        {"more": 1},
    ],
)
def test_anything_else_is_a_fault(wrong):
    assert noise_fault(WHOLE | wrong)


@pytest.mark.parametrize("wrong", ["x", 3, [], {}])
def test_what_is_no_model_is_a_fault(wrong):
    assert noise_fault(wrong)
