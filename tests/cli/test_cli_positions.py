"""`tsl positions`, and positions in `tsl forecast`: from a loss store to laws, a table, pictures; clear refusals."""

import shutil

import numpy as np
import pytest

from tsl_jax.store import create_losses, open_fits, open_losses
from tsl_jax.temporal import forecast_positions

STEP = np.round(np.geomspace(10, 1000, 20))
SEQUENCES, LENGTH = 40, 16


def planted_losses(seed):
    """(sequences, positions, checkpoints): hyperbolas, an easy or hard text, noise."""
    rng, position = np.random.default_rng(seed), np.arange(1, LENGTH + 1)
    mean = 2 / (1 + 0.3 * position[:, None]) + 2 + 8 * STEP**-0.3
    return mean + 0.3 * rng.normal(size=(SEQUENCES, 1, 1)) + 0.05 * rng.normal(size=(SEQUENCES, LENGTH, len(STEP)))


def held(losses, seen):
    """Fraction of hidden means by position within the 90% bands of a forecast from the first rows: least, most.

    The store's losses are rounded, which moves bands by 2e-4 nat: a mean on an edge may lie on either side.
    """
    mean, stderr = losses.mean(axis=0).T, losses.std(axis=0, ddof=1).T / np.sqrt(SEQUENCES)
    position = np.arange(1, LENGTH + 1)
    found = forecast_positions(STEP[:seen], position, mean[:seen], stderr[:seen], STEP[seen:])
    inside = np.minimum(mean[seen:] - found.lower[1], found.upper[1] - mean[seen:])
    return np.mean(inside > 3e-4), np.mean(inside > -3e-4)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    losses = planted_losses(0)
    path = tmp_path_factory.mktemp("positions") / "losses.zarr"
    create_losses(
        path,
        losses.reshape(-1, len(STEP)),
        checkpoints={"step": STEP},
        tokens={
            "sequence": np.repeat(np.arange(SEQUENCES), LENGTH),
            "position": np.tile(np.arange(LENGTH), SEQUENCES),
        },
    )
    return path


def test_the_law_of_a_store(tsl, planted, tmp_path):
    table, picture = tmp_path / "table.zarr", tmp_path / "law.png"
    done = tsl("positions", planted, "--replicates", 20, "--table", table, "--picture", picture, "--json")
    assert done.code == 0, done.err
    law = done.json["checkpoints"]
    assert law["axis"] == STEP.tolist()
    np.testing.assert_allclose(law["amplitude"], 2, rtol=0.2)
    np.testing.assert_allclose(law["rate"], 0.3, rtol=0.3)
    assert set(done.json["evolution"]) == {"amplitude", "rate", "floor"}
    assert done.json["evolution"]["amplitude"]["form"] == "constant"
    assert done.json["evenness"]["p_value"] > 0.001
    assert "single" not in done.err
    assert picture.stat().st_size > 10_000
    assert open_losses(table).num_tokens == len(STEP)
    again = tsl("positions", planted, "--replicates", 20, "--table", table)
    assert again.code == 1
    assert "something is here already; give --overwrite to replace it" in again.err
    assert tsl("positions", planted, "--replicates", 20, "--table", table, "--overwrite").code == 0
    fitted = tsl("fit", table, tmp_path / "fits.zarr", "--family", "hyperbola", "--axis", "position")
    assert fitted.code == 0, fitted.err
    rate = open_fits(tmp_path / "fits.zarr").read(slice(0, len(STEP))).params["rate"]
    np.testing.assert_allclose(rate, 0.3, rtol=0.3)


@pytest.mark.parametrize("name", ["losses.zarr", "./losses.zarr/", "link", "file://{}/losses.zarr"])
def test_the_losses_that_are_read_are_not_replaced(tsl, planted, tmp_path, name):
    losses = shutil.copytree(planted, tmp_path / "losses.zarr")
    (tmp_path / "link").symlink_to(losses)
    table = name.format(tmp_path) if ":" in name else f"{tmp_path}/{name}"
    done = tsl("positions", losses, "--table", table, "--overwrite")
    assert done.code == 1
    assert f"--table: {table} holds the losses that are read; give another place" in done.err
    np.testing.assert_array_equal(open_losses(losses).read(), open_losses(planted).read())


def test_a_forecast_of_every_position(tsl, planted, tmp_path):
    picture = tmp_path / "forecast.png"
    done = tsl(
        *("forecast", planted, "--until", 1000, "--fraction", 0.3, "--schedule", "none"),
        *("--positions", "--picture", picture, "--json"),
    )
    assert done.code == 0, done.err
    said = done.json["positions"]
    assert said["hidden"]["mse"] < 0.02
    seen = int(np.sum(done.json["seen"]["last_step"] >= STEP))
    least, most = held(planted_losses(0), seen)
    assert least - 1e-9 <= said["hidden"]["coverage90"] <= most + 1e-9
    assert most - least < 0.1
    assert len(said["loss"]) == LENGTH
    assert done.json["pictures"] == [str(picture), str(tmp_path / "forecast_positions.png")]
    assert (tmp_path / "forecast_positions.png").stat().st_size > 10_000
    assert any("schedule is unknown" in text for text in done.json["warnings"])


def test_tokens_without_a_position_leave_the_mean_loss(tsl, planted, tmp_path):
    store = open_losses(planted)
    place = store.read_coordinate("position").astype("float32")
    place[7] = np.nan
    create_losses(tmp_path / "a.zarr", store.read(), checkpoints={"step": STEP}, tokens={"position": place})
    forecast = ("--until", 1000, "--fraction", 0.3, "--schedule", "none")
    done, whole = (
        tsl("forecast", tmp_path / "a.zarr", *forecast, "--json"),
        tsl("forecast", planted, *forecast, "--json"),
    )
    assert done.code == 0, done.err
    np.testing.assert_allclose(done.json["loss"], whole.json["loss"], rtol=1e-6)
    assert "token 7" in done.err
    for command in (("positions",), ("forecast", *forecast, "--positions")):
        done = tsl(command[0], tmp_path / "a.zarr", *command[1:], "--json")
        assert done.code == 1
        assert "write the store without the tokens whose position is not known" in done.json["error"]["message"]


def test_bands_of_positions_hold_as_often_as_they_say():
    """As a rate over runs: the positions of one run share most of their error."""
    assert 0.8 < np.mean([held(planted_losses(seed), 14) for seed in range(8)]) < 0.97


@pytest.mark.parametrize(
    ("steps", "tokens", "command", "says"),
    [
        ([100], {"position": [0, 1, 2, 3]}, ("positions",), "got 1 checkpoints"),
        ([10, 100], {}, ("positions",), "has no such token coordinate"),
        ([10, 100], {}, ("forecast", "--until", 900, "--positions"), "no token coordinate of this name"),
        ([100], {}, ("forecast", "--until", 900), "got 1 rows"),
    ],
)
def test_refusals(tsl, tmp_path, steps, tokens, command, says):
    losses = np.linspace(5, 3, len(steps)) + np.zeros((4, 1))
    create_losses(tmp_path / "a.zarr", losses, checkpoints={"step": steps}, tokens=tokens)
    done = tsl(command[0], tmp_path / "a.zarr", *command[1:], "--json")
    assert done.code == 1
    assert says in done.json["error"]["message"]
