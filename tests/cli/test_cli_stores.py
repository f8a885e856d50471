"""`tsl info` and `tsl validate`."""

import dataclasses
import zipfile

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from tsl_jax.cli.info import missing_fraction
from tsl_jax.curves import Sigmoid
from tsl_jax.data import sample_path
from tsl_jax.fitting import Category, FitOptions, Status, chosen_kernel, degrees_of_freedom
from tsl_jax.store import create_losses, open_fits, open_losses


def test_info_describes_losses(tsl, losses):
    result = tsl("info", losses, "--json")
    said = result.json
    assert result.code == 0
    assert (said["kind"], said["tokens"], said["checkpoints"], said["dtype"]) == (
        "losses",
        150,
        12,
        "float16",
    )
    assert said["axes"] == {
        "step": {"first": 0, "last": 1000},
        "tokens_seen": {"first": 0, "last": 4096000},
    }
    assert said["token_coordinates"] == {"domain": "int8"}
    assert (said["chunks"], said["shards"]) == ([16, 12], [32, 12])
    assert said["bytes"] == 150 * 12 * 2 + 150
    assert 0 < said["stored_bytes"] < 2 * said["bytes"] + 4000
    assert said["missing"] == {"fraction": 30 / 1800, "sampled_tokens": 150, "sample": "all tokens"}
    for words in (
        "title: Planted sigmoids [no run]",
        "axes: step 0 to 1000",
        "1.67% of the losses (sample: all",
    ):
        assert words in result.err


def test_info_describes_fits(tsl, losses, quick, tmp_path):
    assert tsl("fit", losses, tmp_path / "fits.zarr", *quick).code == 0
    result = tsl("info", tmp_path / "fits.zarr", "--json")
    said = result.json
    assert (said["kind"], said["family"], said["axis"], said["scale"]) == ("fits", "sigmoid", "step", "log")
    options = FitOptions(max_steps=8, block_size=32)
    kernel = chosen_kernel(Sigmoid(), options, np.float32)
    assert said["options"] == dataclasses.asdict(dataclasses.replace(options, kernel=kernel))
    assert (said["complete"], said["tokens_done"], said["blocks_finished"]) == (True, 150, said["blocks"])
    assert said["left_out_checkpoints"] == [0]
    assert sum(row["tokens"] for row in said["statuses"].values()) == 150
    assert said["statuses"]["CONVERGED"]["cause_and_cure"] == Status.CONVERGED.cause_and_cure
    assert sum(row["tokens"] for row in said["categories"].values()) == 150
    assert said["parameters"]["sharpness"] == "1/u"
    assert "The fit converged." in result.err
    fitted = open_fits(tmp_path / "fits.zarr").read()
    learned = fitted.category == Category.LEARNED
    assert said["learned_falling"] == np.sum(learned & (fitted.params["loss_drop"] > 0))
    assert said["learned_rising"] == np.sum(learned & (fitted.params["loss_drop"] < 0))
    assert said["second_events"] == np.sum(fitted.second_event > 0.5)
    assert said["noise_not_estimated"] == np.sum(np.isfinite(fitted.rss) & (fitted.num_points < 12)) == 150
    freedom = np.asarray(degrees_of_freedom(fitted.noise_correlation, fitted.num_points))
    assert said["few_effective_points"] == np.sum(np.isfinite(fitted.rss) & (freedom <= 1))
    assert said["median_effective_points"] == pytest.approx(np.nanmedian(fitted.effective_points))
    assert (said["noise_source"], said["noise_correlation"]) == ("too few curves", None)
    assert "noise source: too few curves" in result.err


def test_missing_losses_are_counted_on_a_bounded_sample():
    values = np.ones((400, 8), "float16")
    values[::4] = np.nan
    memory = zarr.storage.MemoryStore()
    create_losses(memory, values, checkpoints={"step": np.arange(8)}, chunk_tokens=4)
    share = missing_fraction(open_losses(memory))
    assert share == {
        "fraction": 0.25,
        "sampled_tokens": 64,
        "sample": "64 tokens in 16 chunks spread over the store",
    }


def test_validate_says_valid(tsl, losses):
    result = tsl("validate", losses, "--json")
    assert (result.code, result.json) == (0, {"store": str(losses), "valid": True, "violations": []})
    assert result.err.strip() == f"{losses}: valid"


def test_validate_lists_every_violation(tsl, losses):
    group = zarr.open_group(losses, mode="r+")
    group["step"][3] = 5000
    del group.attrs["tsl_version"]
    result = tsl("validate", losses, "--json")
    assert (result.code, result.json["valid"]) == (1, False)
    assert {violation["where"] for violation in result.json["violations"]} == {
        "step",
        "attribute tsl_version",
    }
    for words in (
        "error: step: does not increase",
        "Sort the checkpoints",
        "error: attribute tsl_version",
        "2 errors",
    ):
        assert words in result.err


def test_notes_leave_a_store_valid(tsl, tmp_path):
    create_losses(tmp_path / "a.zarr", np.ones((4, 3), "float16"), checkpoints={"step": [1, 2, 3]})
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group.create_array(
        "losses",
        data=np.ones((4, 3), "float16"),
        chunks=(4, 1),
        fill_value=np.nan,
        dimension_names=("token", "checkpoint"),
        compressors=[Crc32cCodec()],
        overwrite=True,
    )
    result = tsl("validate", tmp_path / "a.zarr", "--json")
    assert (result.code, result.json["valid"]) == (0, True)
    assert [violation["level"] for violation in result.json["violations"]] == ["note"]
    assert "valid, 1 note" in result.err


def test_a_zip_file_is_a_store(tsl, losses, tmp_path):
    with zipfile.ZipFile(tmp_path / "losses.zip", "w") as archive:
        for file in losses.rglob("*"):
            archive.write(file, file.relative_to(losses))
    said = tsl("info", tmp_path / "losses.zip", "--json").json
    assert said["stored_bytes"] == tsl("info", losses, "--json").json["stored_bytes"]


@pytest.mark.parametrize("command", ["info", "validate"])
def test_no_store_is_one_paragraph(tsl, tmp_path, command):
    result = tsl(command, tmp_path / "nothing", "--json")
    assert result.code == 1
    assert result.json["error"]["kind"] == "StoreNotFoundError"
    assert result.err.startswith("error: ")
    assert "Check the path" in result.err


def test_the_sample_is_valid(tsl):
    assert tsl("validate", sample_path()).code == 0
    assert tsl("info", sample_path(), "--json").json["tokens"] == 25600
