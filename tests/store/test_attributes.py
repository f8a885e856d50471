"""Attributes are JSON that every reader takes, or refused by name."""

import json

import numpy as np
import pytest
import zarr

from tsl_jax.store import LossPlan, StoreError, create_losses
from tsl_jax.store.attributes import as_json


def test_numbers_of_numpy_and_jax_become_pythons():
    import jax.numpy as jnp

    given = {
        "runs": np.int64(3),
        "rate": np.float32(0.5),
        "array": np.arange(4).reshape(2, 2),
        "jax": jnp.ones(2),
        "flag": np.bool_(True),
        "names": ("a", np.str_("b")),
        "inside": {"x": {1: np.uint8(2)}},
        "plain": [1, 2.5, None, False, "text"],
    }
    expected = {
        "runs": 3,
        "rate": 0.5,
        "array": [[0, 1], [2, 3]],
        "jax": [1.0, 1.0],
        "flag": True,
        "names": ["a", "b"],
        "inside": {"x": {"1": 2}},
        "plain": [1, 2.5, None, False, "text"],
    }
    assert as_json(given) == expected
    assert json.loads(json.dumps(as_json(given), allow_nan=False)) == expected
    assert as_json(None) == {}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"x": float("nan")}, r"attributes\['x'\]: got nan, which JSON does not have; give None"),
        ({"x": {"y": [1, np.inf]}}, r"attributes\['x'\]\['y'\]\[1\]: got inf"),
        ({"x": np.array([1, np.nan])}, r"attributes\['x'\]\[1\]: got nan"),
        ({"x": object()}, r"attributes\['x'\]: got object, expected text, a number"),
        ({"x": np.datetime64("2020-01-01")}, r"attributes\['x'\]: got date"),
        ({"x": np.longdouble(1)}, r"attributes\['x'\]: got longdouble"),
        ({"x": 1j}, "got complex"),
        ({"x": b"bytes"}, "got bytes"),
        ({("a",): 1}, r"got the name \('a',\), expected text"),
        (["a"], "attributes: got list, expected a mapping"),
    ],
)
def test_what_json_does_not_have_is_refused(attributes, message):
    with pytest.raises(StoreError, match=message):
        as_json(attributes)
    store = zarr.storage.MemoryStore()
    with pytest.raises(StoreError, match=message):
        create_losses(store, np.ones((2, 3)), checkpoints={"step": [1, 2, 3]}, attributes=attributes)
    assert not store._store_dict  # nothing was begun


def test_stores_that_are_filled_later_say_the_same():
    plan = LossPlan((1, 2), np.dtype("f4"), {"step": np.array([1, 2])}, {}, {"runs": np.int64(3)})
    assert plan.all_attributes["runs"] == 3
    assert type(plan.all_attributes["runs"]) is int
