"""`tsl rechunk`: another layout of the same losses, and what is wrong in a sentence."""

import numpy as np
import pytest

from tsl_jax.store import open_losses


def test_the_same_losses_in_another_layout(tsl, losses, tmp_path):
    target = tmp_path / "new.zarr"
    layout = ("--chunk-tokens", 8, "--shard-tokens", 24, "--dtype", "float32")
    found = tsl("rechunk", losses, target, *layout, "--json")
    assert found.code == 0, found.err
    seconds = found.json.pop("seconds")
    assert seconds > 0
    assert found.json == {
        "source": str(losses),
        "target": str(target),
        "tokens": 150,
        "checkpoints": 12,
        "dtype": "float32",
        "chunk_tokens": 8,
        "shard_tokens": 24,
        "written": True,
    }
    assert "150 tokens x 12 checkpoints, float32, chunks of 8 tokens in shards of 24" in found.err
    np.testing.assert_array_equal(open_losses(target).read(), open_losses(losses).read().astype("float32"))
    again = tsl("rechunk", losses, target, *layout, "--json")
    assert (again.code, again.json["written"]) == (0, False)
    assert "Nothing to do" in again.err
    again = tsl("rechunk", losses, target)
    assert again.code == 1
    assert "holds tsl_kind='losses' already" in again.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no/such", "new.zarr"], 1, "no Zarr group"),
        (["LOSSES", "new.zarr", "--chunk-tokens", "4", "--shard-tokens", "6"], 1, "a multiple of chunk_tokens = 4"),
        (["LOSSES", "new.zarr", "--chunk-tokens", "0"], 2, "--chunk-tokens"),
        (["LOSSES", "new.zarr", "--dtype", "int8"], 2, "float16"),
        (["LOSSES", "new.zarr", "--memory", "much"], 2, "such as 512MiB"),
        (["LOSSES"], 2, "TARGET"),
    ],
)
def test_what_is_wrong_is_said(tsl, losses, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    found = tsl("rechunk", *(losses if word == "LOSSES" else word for word in words))
    assert found.code == code
    assert said in " ".join(found.err.replace("│", " ").split())
    assert not (tmp_path / "new.zarr").exists()


def test_a_bad_chunk_is_named_and_its_repair_goes_on(tsl, losses, tmp_path):
    path = losses / "losses/c/2/0"
    good = path.read_bytes()
    path.write_bytes(good[:40] + b"x" + good[41:])
    options = ("--chunk-tokens", 8, "--shard-tokens", 16, "--memory", "1KB")
    found = tsl("rechunk", losses, tmp_path / "new.zarr", *options)
    assert found.code == 1
    text = " ".join(found.err.split())
    assert "tokens 64 to" in text
    assert "it goes on where it was" in text
    assert "on-bad-chunk" not in text
    path.write_bytes(good)
    assert tsl("rechunk", losses, tmp_path / "new.zarr", *options).code == 0
    np.testing.assert_array_equal(open_losses(tmp_path / "new.zarr").read(), open_losses(losses).read())
