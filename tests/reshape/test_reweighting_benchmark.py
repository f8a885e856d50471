"""The proof of re-weighting: its text, its runs and how it tells the speed-up, on what is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.reweighting import training as reweighting
from benchmarks.reweighting.curves import UNIFORM, compared, draw, smoothed, speed_up_percent, summary
from benchmarks.reweighting.runs import BYTES, Training, advance, begin, for_each, losses, mean_losses, stack
from benchmarks.texts import split_texts
from tsl_jax.simulate import Transformer

TRAINING = Training(Transformer(1, 2, 8), batch=4, warmup=2, rate=1e-2)
STEPS = np.arange(200.0, 701.0, 25.0)


@pytest.fixture
def folder(tmp_path):
    """Files each of whose bytes are the file's own, one of them twice, and one that is no text."""
    for k in range(12):
        (tmp_path / f"{k}.txt").write_bytes(bytes([65 + k]) * 3000)
    (tmp_path / "again.txt").write_bytes(b"A" * 3000)
    (tmp_path / "picture.txt").write_bytes(b"\0" * 3000)
    (tmp_path / "tool.exe").write_bytes(b"!" * 3000)
    return str(tmp_path)


def test_splits_of_text_share_no_file(folder):
    counts = {"reference": 200, "candidates": 60, "validation": 20}
    rows, said = split_texts(folder, counts, 31)
    assert {name: part.shape for name, part in rows.items()} == {name: (n, 32) for name, n in counts.items()}
    found = [set(np.unique(part).tolist()) for part in rows.values()]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    assert set.union(*found) <= {*range(65, 77)}
    assert sum(said["files"].values()) == 12
    again, other = split_texts(folder, counts, 31), split_texts(folder, counts, 31, seed=1)
    assert again[1]["digest"] == said["digest"] != other[1]["digest"]


def test_too_little_text_says_so(folder):
    with pytest.raises(SystemExit, match="--text FOLDER"):
        split_texts(folder, {"reference": 2000, "validation": 20}, 31)


def falling(speed=1.0):
    """A curve that is at any loss after 1/speed of the steps from 200 on."""
    return 3.0 - 0.4 * np.log(1 + speed * (STEPS - 200) / 100)


@pytest.mark.parametrize("speed", [1.0, 1.11, 1.5])
def test_the_speed_up_is_the_planted_one(speed):
    saved = 100 * (1 - 1 / speed)
    assert speed_up_percent(STEPS, falling(), falling(speed)) == pytest.approx(saved, abs=0.2)
    # The other way round the same target is timed: negative, and as much of the slower one's steps.
    assert speed_up_percent(STEPS, falling(speed), falling()) == pytest.approx(100 * (1 - speed), abs=0.4)


def test_arms_are_compared_seed_by_seed(tmp_path):
    rng = np.random.default_rng(0)
    plain = [falling() + shift for shift in (0.0, 0.3, -0.2)]
    noise = rng.normal(size=(2, 3, len(STEPS))) * 1e-3
    curves = {
        "step": STEPS.tolist(),
        "loss": {
            UNIFORM: (plain + noise[0]).tolist(),
            "strength 1": ([falling(1.25) + shift for shift in (0.0, 0.3, -0.2)] + noise[1]).tolist(),
        },
        "last_loss_of_thirds": {UNIFORM: [[2.0, 2.5, 3.0]] * 3, "strength 1": [[2.1, 2.5, 2.8]] * 3},
    }
    found = compared(curves, "strength 1")
    gain = found["speed_up_percent"]
    assert gain["interval"][0] < 20 < gain["interval"][1]
    assert gain["mean"] == pytest.approx(20, abs=1.5)
    thirds = [third["mean"] for third in found["last_loss_of_thirds_lower_by"]]
    np.testing.assert_allclose(thirds, [-0.1, 0.0, 0.2], atol=1e-9)
    assert found["noise_of_curves"] == pytest.approx(1e-3, rel=1.0)
    draw({"curves": curves, "arms": {"strength 1": found}}, str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert found["last_loss_lower_by"]["mean"] == pytest.approx(falling()[-1] - falling(1.25)[-1], abs=5e-3)


@pytest.mark.parametrize("strength", ["0", "1.5"])
def test_strengths_that_no_weights_have_are_refused_at_once(strength, capsys):
    with pytest.raises(SystemExit):
        reweighting.main(["--quick", "--strengths", strength])
    assert "expected numbers from -1 to 1" in capsys.readouterr().err


def test_a_cubic_is_smoothed_to_itself():
    cubic = 2 - 0.3 * np.log(STEPS) + 0.01 * np.log(STEPS) ** 3
    np.testing.assert_allclose(smoothed(STEPS, cubic), cubic, rtol=1e-9)


def test_the_interval_is_students():
    # t(0.975, 2) = 4.303
    np.testing.assert_allclose(summary([1.0, 2.0, 3.0])["interval"], 2 + np.array([-1, 1]) * 4.303 / 3**0.5, rtol=1e-3)


def test_runs_side_by_side_are_runs_one_after_another():
    """Two seeds, each with both chances of drawing; a row of no chance is never drawn."""
    text = jnp.asarray(np.random.default_rng(0).integers(0, BYTES, (6, 9)), jnp.uint8)
    states, keys = (stack(list(part)) for part in zip(*(begin(seed, TRAINING) for seed in (0, 1)), strict=True))
    chances = jnp.asarray([[1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0], [0.0, 0.0, 0.0, 0.5, 0.5, 1.0]])

    def run(text, together):
        return for_each(lambda *each: advance(*each, 0, 3, text, TRAINING), together)(states, keys, chances)[0]

    one, side = run(text, False), run(text, True)
    for name, values in one.items():
        np.testing.assert_allclose(side[name], values, atol=1e-4, err_msg=name)
    changed = run(text.at[jnp.array([0, 1, 2, 4])].set(0), False)
    assert not np.allclose(changed["output"][0], one["output"][0])
    np.testing.assert_array_equal(changed["output"][1], one["output"][1])


def test_the_loss_is_that_of_the_next_byte():
    params, _ = begin(0, TRAINING)
    params = params[0] | {"output": jax.random.normal(jax.random.key(3), (8, BYTES))}
    text = jnp.asarray(np.random.default_rng(1).integers(0, BYTES, (2, 9)), jnp.uint8)
    found = losses(params, text[:, :-1], text[:, 1:], TRAINING.size)
    assert found.shape == (2, 8)
    # Other last bytes change the last loss alone.
    other = text.at[:, -1].set(text[:, -1] ^ 1)
    np.testing.assert_array_equal(losses(params, other[:, :-1], other[:, 1:], TRAINING.size)[:, :-1], found[:, :-1])
    np.testing.assert_allclose(mean_losses(params, text, TRAINING.size, 2), found.mean(axis=1), rtol=1e-5)
