"""The proof of re-weighting: its text, its runs and how it tells the speed-up, on what is known."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.reweighting import runs
from benchmarks.reweighting import training as reweighting
from benchmarks.reweighting.arms import seed_file, train_arms
from benchmarks.reweighting.curves import compared, curves_of, draw, smoothed, speed_up_percent, summary, table
from benchmarks.reweighting.probes import carried, text_features
from benchmarks.reweighting.runs import BYTES, Training, advance, begin, follow, for_each, losses, mean_losses, stack
from benchmarks.reweighting.scores import CURRICULUM, UNIFORM, Experiment, measured_steps
from benchmarks.texts import split_documents, split_texts
from tsl_jax.reshape import TEXT_FEATURES
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


def test_splits_of_documents_have_one_distribution_and_no_document_in_common(folder):
    counts = {"reference": 60, "candidates": 60, "validation": 20}
    rows, said = split_documents(folder, counts, 31, most=50)
    assert {name: part.shape for name, part in rows.items()} == {name: (n, 32) for name, n in counts.items()}
    found = {name: set(np.unique(part).tolist()) for name, part in rows.items()}
    assert sum(len(one) for one in found.values()) == len(set.union(*found.values()))
    assert sum(said["documents"].values()) == 12
    for part in rows.values():
        assert np.unique(part[:, 0], return_counts=True)[1].max() <= 50
    with pytest.raises(SystemExit, match="--text FOLDER"):
        split_documents(folder, counts, 31, most=2)


def falling(speed=1.0):
    """A curve that is at any loss after 1/speed of the steps from 200 on."""
    return 3.0 - 0.4 * np.log(1 + speed * (STEPS - 200) / 100)


@pytest.mark.parametrize("speed", [1.0, 1.11, 1.5])
def test_the_speed_up_is_the_planted_one(speed):
    saved = 100 * (1 - 1 / speed)
    assert speed_up_percent(STEPS, falling(), falling(speed)) == pytest.approx(saved, abs=0.2)
    # The other way round the same target is timed: negative, and as much of the slower one's steps.
    assert speed_up_percent(STEPS, falling(speed), falling()) == pytest.approx(100 * (1 - speed), abs=0.4)


def test_the_speed_up_at_a_level_is_the_one_planted_before_curves_cross():
    """Sooner by a quarter at first, back at the others' loss at the end: the levels tell the two apart."""
    share = (STEPS - STEPS[0]) / np.ptp(STEPS)
    late = np.interp(share, [0, 0.5, 1], [0, 0.625, 1])  # at half of the steps where the other is after 0.625
    plain, other = 3 - share, 3 - late
    assert speed_up_percent(STEPS, plain, other, level=0.5) == pytest.approx(100 * (1 - 0.4 / 0.5), abs=0.1)
    assert speed_up_percent(STEPS, plain, other) == pytest.approx(0, abs=1e-9)


def test_arms_are_compared_seed_by_seed(tmp_path):
    rng = np.random.default_rng(0)
    plain = [falling() + shift for shift in (0.0, 0.3, -0.2)]
    noise = rng.normal(size=(2, 3, len(STEPS))) * 1e-3
    other = [falling(1.25) + shift for shift in (0.0, 0.3, -0.2)]
    # Of ten buckets the lowest two end higher by 0.1, the highest two lower by 0.1.
    apart = np.repeat([-0.1, 0.0, 0.1], [2, 6, 2]) * (np.arange(len(STEPS)) / (len(STEPS) - 1))[:, None]
    rows = [np.array(mean + part) for mean, part in zip((plain, other), noise, strict=True)]
    buckets = [np.repeat(one[..., None], 10, -1) for one in rows]
    curves = curves_of(STEPS.tolist(), {UNIFORM: buckets[0], "other": buckets[1] - apart})
    found = compared(curves, "other")
    gain = found["speed_up_percent"]
    assert gain["interval"][0] < 20 < gain["interval"][1]
    assert gain["mean"] == pytest.approx(20, abs=1.5)
    for level in found["speed_up_percent_at"].values():
        assert level["mean"] == pytest.approx(20, abs=2.5)
    last = falling()[-1] - falling(1.25)[-1]
    groups = [
        found["groups"][name]["last_loss_lower_by"]["mean"] for name in ("lowest two", "middle six", "highest two")
    ]
    np.testing.assert_allclose(groups, [last - 0.1, last, last + 0.1], atol=5e-3)
    np.testing.assert_allclose([row["mean"] for row in found["lower_by"]], falling() - falling(1.25), atol=5e-3)
    assert found["noise_of_curves"] == pytest.approx(1e-3, rel=1.0)
    assert found["last_loss_lower_by"]["mean"] == pytest.approx(last, abs=5e-3)
    result = {"curves": curves, "arms": {"other": found}}
    draw(result, str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert len(table(result).splitlines()) == 3


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


def test_an_order_is_followed_row_by_row():
    """Two steps at once are two steps one after another, and steps on copies of the rows that they name."""
    text = jnp.asarray(np.random.default_rng(0).integers(0, BYTES, (6, 9)), jnp.uint8)
    state, _ = begin(0, TRAINING)
    order = jnp.asarray([5, 0, 2, 1, 3, 3, 4, 0], jnp.int32)
    whole = follow(state, order, 0, 2, text, TRAINING)[0]
    halves = follow(follow(state, order, 0, 1, text, TRAINING), order, 1, 2, text, TRAINING)[0]
    copied = follow(state, jnp.arange(8, dtype=jnp.int32), 0, 2, text[order], TRAINING)[0]
    for name, values in whole.items():
        np.testing.assert_allclose(halves[name], values, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(copied[name], values, atol=1e-6, err_msg=name)
    other = follow(state, order.at[7].set(1), 0, 2, text, TRAINING)[0]
    assert not np.allclose(other["output"], whole["output"])


def test_presets_draw_a_quarter_and_measure_both_ends_of_the_window():
    for preset in reweighting.PRESETS.values():
        start, stop = preset["window"]
        assert preset["candidates"] >= 4 * preset["batch"] * (stop - start)
        assert (stop - start) % preset["every"] == 0
        steps = measured_steps(preset)
        assert {start, stop} <= set(steps)
        assert steps == sorted(set(steps))
    said = reweighting.planned(reweighting.PRESETS["gpu"], [1.0, -1.0])
    assert "40 runs (8 seeds of 5 arms) of 2000 steps, 3,279,104 parameters" in said


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


def test_scores_are_carried_by_text_and_none_are_made_from_noise():
    """Of 300 candidates 100 are probes; those that score high by a feature are lifted, the others of its kind too."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    score = features[:100, 2] + rng.normal(0, 0.1, 100)
    weight, said = carried(features, score)
    assert said["r2"] > 0.9
    assert not said["noise"]
    order = np.argsort(features[100:, 2])
    assert (weight[100:][order[:30]] < 0.1).all()
    assert (weight[100:][order[-30:]] > 1.9).all()
    weight, said = carried(features, rng.permutation(score))
    assert said["noise"]
    assert (weight == 1).all()


@pytest.fixture
def tiny(tmp_path):
    """An experiment of one seed, its text random bytes, which teach nothing of one sequence more than of another."""
    preset = {
        "size": (1, 2, 8), "context": 16, "batch": 4, "warmup": 2, "rate": 1e-2, "window": (8, 16), "every": 4,
        "first": 1, "checkpoints": 5, "plan": 8, "probes": 50, "seeds": 1, "references": 2,
        "reference": 80, "candidates": 130, "validation": 20,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    names = ("reference", "candidates", "validation")
    rows = {name: rng.integers(60, 70, (preset[name], 17)).astype(np.uint8) for name in names}
    return Experiment(preset, rows, tmp_path, (), (CURRICULUM,))


def arms_of(experiment):
    """What `train_arms` writes of the uniform arm and the one that follows its run."""
    weights = {UNIFORM: np.ones(130), CURRICULUM: np.ones(130)}
    train_arms(experiment, 0, weights, np.repeat(np.arange(10), 2), text_features(experiment))
    return json.loads(seed_file(experiment, 0).read_text())


def test_an_arm_that_follows_its_run_plans_each_window_and_makes_no_weights_from_noise(tiny, monkeypatch):
    """Arms one after another, as on a CPU, are arms side by side, as on a GPU."""
    assert text_features(tiny).shape == (130, len(TEXT_FEATURES))
    found = arms_of(tiny)
    assert found["step"] == [8, 12, 16]
    shapes = {name: np.shape(values) for name, values in found["buckets"].items()}
    assert shapes == {UNIFORM: (3, 10), CURRICULUM: (3, 10)}
    (plan,) = found["plans"]
    assert plan["window"] == [8, 16]
    assert plan["noise"]
    assert plan["foreseen_by_score"] is None
    assert -1 < plan["foreseen_by_fall"] < 1
    assert found["buckets"][UNIFORM] == found["buckets"][CURRICULUM]
    monkeypatch.setattr(runs, "side_by_side", lambda: True)
    traced: Any
    for traced in (runs.mean_losses, runs.token_losses):
        traced.clear_cache()
    again = arms_of(tiny)
    np.testing.assert_allclose(again["buckets"][CURRICULUM], found["buckets"][CURRICULUM], atol=1e-4)


def test_what_arms_take_is_planned(tiny):
    alone, followed = (reweighting.planned(tiny.preset, [], others) for others in ([], [CURRICULUM]))
    assert "1 runs (1 seeds of 1 arms) of 8 steps" in alone
    assert "2 runs (1 seeds of 2 arms) of 8 steps" in followed
    # 2 references of 16 steps, a start of 8, an arm of 8; the curriculum's probes at 1, 2, 4, 8, 12 and 16.
    trained, measured = (2 * 16 + 8 + 8) * 4 * 16, (2 * 5 * 150 + 3 * 20) * 16
    assert f"{trained:,} bytes trained on, {measured:,} measured" in alone
    steps = [step for step in measured_steps(tiny.preset) if step <= 8]
    trained, measured = trained + 8 * 4 * 16, measured + (3 * 20 + (len(steps) + 2) * 50) * 16
    assert f"{trained:,} bytes trained on, {measured:,} measured" in followed
