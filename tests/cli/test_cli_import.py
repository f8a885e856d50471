"""`tsl import`, and what other commands say of what it would import."""

import numpy as np
import pandas
import pytest

from tsl_jax.store import open_losses

STEPS = [1, 10, 100, 400, 800]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Losses as a user may have them, in the working directory."""
    monkeypatch.chdir(tmp_path)
    losses = np.random.default_rng(3).normal(4, 1, (40, len(STEPS))).astype("float16")
    np.save("losses.npy", losses)
    np.savetxt("steps.txt", STEPS)
    np.savez("named.npz", losses=losses, step=STEPS)
    (tmp_path / "run").mkdir()
    for at, step in enumerate(STEPS):
        np.save(f"run/step{step:04}.npy", losses[:, at])
    pandas.DataFrame({"token": range(40), "step": 5, "loss": losses[:, 0]}).to_csv("long.csv", index=False)
    pandas.DataFrame({"position": range(40), "domain": ["a", "b"] * 20}).to_csv("tokens.csv", index=False)
    pandas.DataFrame({"step": STEPS, "loss": 3.0}).to_csv("curve.csv", index=False)
    return losses


def test_an_array_with_files_of_steps_and_tokens(tsl, folder):
    words = ("import", "losses.npy", "losses.zarr", "--steps", "steps.txt", "--tokens", "tokens.csv", "--json")
    found = tsl(*words)
    assert found.code == 0, found.err
    assert found.json.pop("seconds") > 0
    assert found.json == {
        "sources": ["losses.npy"],
        "out": "losses.zarr",
        "tokens": 40,
        "checkpoints": 5,
        "dtype": "float16",
        "steps": STEPS,
        "token_coordinates": ["domain", "position"],
        "notes": [],
        "written": True,
    }
    assert "40 tokens x 5 checkpoints, steps 1 to 800, float16" in tsl("import", "named.npz", "other.zarr").out
    assert "Known of each token: domain, position" in tsl(*words[:-1]).out
    store = open_losses("losses.zarr")
    np.testing.assert_array_equal(store.read(), folder)
    assert store.attributes["domains"] == ["a", "b"]
    assert tsl(*words).json["written"] is False
    again = tsl("import", "named.npz", "losses.zarr")
    assert (again.code, "holds tsl_kind='losses' already" in again.err) == (1, True)


def test_a_file_of_each_checkpoint(tsl, folder):
    files = [f"run/step{step:04}.npy" for step in STEPS[::-1]]
    layout = ("--chunk-tokens", 8, "--shard-tokens", 16, "--memory", "1KB", "--dtype", "float32")
    found = tsl("import", *files, "out.zarr", *layout, "--json")
    assert found.code == 0, found.err
    assert found.json["steps"] == STEPS
    np.testing.assert_array_equal(open_losses("out.zarr").read(), folder.astype("float32"))
    assert open_losses("out.zarr").shard_tokens == 16


def test_what_is_not_in_a_table_is_said(tsl, folder):
    frame = pandas.read_csv("long.csv")
    pandas.concat([frame, frame.iloc[:7].assign(step=9)]).to_csv("gaps.csv", index=False)
    found = tsl("import", "gaps.csv", "out.zarr", "--json")
    assert found.json["notes"] == ["33 of 80 losses are not in the table and count as not measured"]
    assert "note: 33 of 80" in found.err


#: What is handed to a command in place of a store, and what the message ends with.
GIVEN = {
    "losses.npy": "tsl import losses.npy losses.zarr --steps FILE, where FILE has the training step of each",
    "run": "tsl import run run.zarr.",
    "named.npz": "tsl import named.npz named.zarr.",
    "long.csv": "tsl import long.csv long.zarr.",
    "curve.csv": "It seems to be a loss curve (a row a step), which tsl forecast and tsl timescale take.",
}
COMMANDS = [
    *(["info", "GIVEN"], ["validate", "GIVEN"], ["rechunk", "GIVEN", "x.zarr"], ["fit", "GIVEN", "x.zarr"]),
    *(["spectrum", "GIVEN"], ["positions", "GIVEN"], ["compare", "GIVEN", "GIVEN"]),
    ["score", "GIVEN", "--window", "1:2", "--out", "x.npz"],
]


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_names_the_import(tsl, folder, command, given):
    found = tsl(*(given if word == "GIVEN" else word for word in command))
    assert found.code == 1, found.err
    said = " ".join(found.err.split())
    assert f"{given}: is no loss or fit store" in said
    assert GIVEN[given] in said


@pytest.mark.parametrize("words", [["forecast", "losses.npy", "--until", "900"], ["timescale", "run"]])
def test_commands_on_curves_name_it_too(tsl, folder, words):
    found = tsl(*words)
    assert found.code == 1
    assert f"tsl import {words[1]}" in found.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["losses.npy", "x.zarr"], 1, "give steps with --steps 0,100,1000 or --steps FILE"),
        (["losses.npy", "x.zarr", "--steps", "1,2,x"], 1, "no such file as 1,2,x"),
        (["nowhere.npy", "x.zarr"], 1, "nowhere.npy: no such file or folder"),
        (["named.npz", "x.zarr", "--array", "loss"], 1, "has no array 'loss' but losses (40, 5) float16"),
        (["named.npz", "x.zarr", "--dtype", "int8"], 2, "float16"),
        (["named.npz"], 2, "Missing argument"),
        (["named.npz", "x.zarr", "--tokens", "steps.txt"], 1, "steps.txt is of no kind that can be read"),
    ],
)
def test_what_is_wrong_is_said(tsl, folder, words, code, said):
    found = tsl("import", *words)
    assert found.code == code
    assert said in " ".join(found.err.replace("│", " ").split())
