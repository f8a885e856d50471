"""Losses in blocks against a plain log-softmax in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tsl_jax.collection import token_nll

RNG = np.random.default_rng(0)
HIDDEN, HEAD = RNG.normal(size=(2, 5, 8)).astype("f4"), (3 * RNG.normal(size=(33, 8))).astype("f4")
IDS = RNG.integers(0, 33, (2, 5))


def plain(hidden, head, ids):
    logits = np.asarray(hidden, np.float64) @ np.asarray(head, np.float64).T
    top = logits.max(-1, keepdims=True)
    logs = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    return -np.take_along_axis(logs, np.asarray(ids)[..., None], -1)[..., 0]


def arrays(framework, *values):
    if framework == "numpy":
        return values
    if framework == "jax":
        return tuple(map(jnp.asarray, values))
    torch = pytest.importorskip("torch", reason="needs PyTorch (the extra hf)")
    return tuple(torch.as_tensor(value) for value in values)


@pytest.mark.parametrize("framework", ["numpy", "jax", "torch"])
@pytest.mark.parametrize("block_bytes", [1, 4 * 33 * 3, 2**28])
def test_blocks_are_the_whole(framework, block_bytes):
    hidden, head, ids = arrays(framework, HIDDEN, HEAD, IDS)
    found = token_nll(hidden, head, ids, block_bytes=block_bytes)
    np.testing.assert_allclose(np.asarray(found), plain(HIDDEN, HEAD, IDS), rtol=2e-6, atol=2e-6)
    assert "float32" in str(found.dtype)
    assert tuple(found.shape) == IDS.shape


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_a_head_that_is_a_function(framework):
    hidden, head, ids = arrays(framework, HIDDEN, HEAD, IDS)
    found = token_nll(hidden, lambda states: states @ head.T, ids, block_bytes=4 * 33 * 4)
    np.testing.assert_allclose(np.asarray(found), plain(HIDDEN, HEAD, IDS), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_low_precision_is_that_of_the_arrays_alone(framework):
    hidden, head, ids = arrays(framework, HIDDEN, HEAD, IDS)
    if framework == "jax":
        hidden, head = hidden.astype("bfloat16"), head.astype("bfloat16")
        exact = plain(*(np.asarray(value.astype("float32")) for value in (hidden, head)), IDS)
    else:
        hidden, head = hidden.bfloat16(), head.bfloat16()
        exact = plain(hidden.float().numpy(), head.float().numpy(), IDS)
    np.testing.assert_allclose(np.asarray(token_nll(hidden, head, ids)), exact, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_logits_of_a_thousand_and_labels_that_do_not_count(framework):
    ids = np.where(IDS > 20, -100, IDS)
    hidden, head, given = arrays(framework, 300 * HIDDEN, HEAD, ids)
    found = np.asarray(token_nll(hidden, head, given))
    np.testing.assert_array_equal(np.isnan(found), ids < 0)
    expected = plain(300 * HIDDEN, HEAD, np.maximum(ids, 0))
    np.testing.assert_allclose(found[ids >= 0], expected[ids >= 0], rtol=1e-5, atol=2e-3)


def test_inside_a_program_of_jax():
    found = jax.jit(token_nll)(HIDDEN, HEAD, IDS)
    np.testing.assert_allclose(found, plain(HIDDEN, HEAD, IDS), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("framework", ["numpy", "jax", "torch"])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"ids": IDS[:, 1:]}, ValueError, r"got shape \(2, 4\), expected \(2, 5\).*hidden\[:, :-1\] and ids\[:, 1:\]"),
        (
            {"head": HEAD.T},
            ValueError,
            r"got shape \(8, 33\), expected \(vocabulary, 8\), as an embedding; pass head.T",
        ),
        ({"head": HEAD[0]}, ValueError, r"expected \(vocabulary, 8\)$"),
        ({"ids": np.full((2, 5), 33)}, ValueError, "got 33, expected ids below 33"),
        ({"ids": np.ones((2, 5), "f4")}, TypeError, "ids: got dtype .*float32, expected whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused(framework, change, error, words):
    given = {"hidden": HIDDEN, "head": HEAD, "ids": IDS} | change
    with pytest.raises(error, match=words):
        token_nll(*arrays(framework, *given.values()))


def test_two_frameworks_are_refused():
    (hidden,) = arrays("torch", HIDDEN)
    with pytest.raises(TypeError, match="expected one framework"):
        token_nll(hidden, HEAD, IDS)
    with pytest.raises(TypeError, match="got list, ndarray, ndarray, expected arrays"):
        token_nll([1.0], HEAD, IDS)
