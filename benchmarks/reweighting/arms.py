"""The arms of one seed: one start, one optimizer, one rate; only the order of the candidates differs."""

import json

import numpy as np

from .probes import Follower
from .scores import BUCKETS, CURRICULUM, Experiment, measured_steps, order_of, write_whole


def train_arms(
    experiment: Experiment, seed: int, weights: dict[str, np.ndarray], bucket: np.ndarray, features: np.ndarray
) -> None:
    """Train all arms of a seed over the window, and write the validation losses of their buckets.

    Args:
        experiment: `Experiment`.
        seed: of the start, of the order before the window, and of the sampler.
        weights: (candidates,) by arm.
        bucket: (validation sequences,) theirs, by score.
        features: (candidates, features) of their text.
    """
    import jax
    import jax.numpy as jnp

    from tsl_jax.reshape import Sampler

    from .runs import begin, follow, for_each, mean_losses, side_by_side, stack

    training, (start, stop), every = experiment.training, experiment.preset["window"], experiment.preset["every"]
    before, text = (jnp.asarray(experiment.rows[name]) for name in ("reference", "candidates"))
    examined = jnp.asarray(_of_equal_buckets(experiment.rows["validation"], bucket))
    measured = for_each(lambda params: mean_losses(params, examined, training.size, BUCKETS), side_by_side())
    state, _ = begin(seed, training)
    order, done = jnp.asarray(order_of(experiment.rows["reference"], start, training.batch, seed)), 0
    followers = {at: Follower(experiment, features) for at, name in enumerate(weights) if name == CURRICULUM}
    for step in [step for step in measured_steps(experiment.preset) if step <= start]:
        state, done = follow(state, order, done, step, before, training), step
        for follower in followers.values():
            follower.observe(step, state[0])
    states, first = stack([state] * len(weights)), list(weights.values())
    for at, follower in followers.items():
        first[at] = follower.weights()
    # The same seed: a candidate of the same weight has the same key in all arms, until weights change.
    samplers = [Sampler(weight, experiment.draws, seed=seed) for weight in first]
    draws = [iter(sampler) for sampler in samplers]
    further = for_each(lambda state, order: follow(state, order, 0, every, text, training), side_by_side())
    steps, found = np.arange(start, stop + 1, every), [measured(states[0])]
    for step in steps[1:].tolist():
        rows = jnp.asarray([[next(draw) for _ in range(every * training.batch)] for draw in draws], jnp.int32)
        states = further(states, rows)
        found.append(measured(states[0]))
        print(f"seed {seed}, step {step} of {stop}: {np.mean(found[-1], axis=1).round(4)}", flush=True)
        for at, follower in followers.items():
            follower.observe(step, jax.tree.map(lambda leaf, at=at: leaf[at], states[0]))
            if step < stop and (step - start) % experiment.preset["plan"] == 0:
                samplers[at].reweight(follower.weights())
    losses = np.asarray(jnp.stack(found, axis=1), np.float64)
    arms = {name: losses[at].round(5).tolist() for at, name in enumerate(weights)}
    plans = [plan for follower in followers.values() for plan in follower.plans()]
    write_whole(seed_file(experiment, seed), json.dumps({"step": steps.tolist(), "buckets": arms, "plans": plans}))


def seed_file(experiment: Experiment, seed: int):
    """Where the losses of a seed are."""
    return experiment.folder / f"seed-{seed}.json"


def gathered(experiment: Experiment) -> dict:
    """Losses of all seeds that are there: ``step``; ``buckets`` by arm, (seeds, rows, buckets), lowest scores first;
    ``plans`` of each seed's curriculum.
    """
    files = [seed_file(experiment, seed) for seed in experiment.seeds]
    found = [json.loads(path.read_text()) for path in files if path.exists()]
    if not found:
        raise SystemExit(f"{experiment.folder}: no seed is done yet")
    return {
        "step": found[0]["step"],
        "seeds": [seed for seed, path in zip(experiment.seeds, files, strict=True) if path.exists()],
        "buckets": {name: [one["buckets"][name] for one in found] for name in found[0]["buckets"]},
        "plans": [one["plans"] for one in found],
    }


def _of_equal_buckets(rows: np.ndarray, bucket: np.ndarray) -> np.ndarray:
    """Rows by bucket, as many of each."""
    size = int(np.bincount(bucket, minlength=BUCKETS).min())
    return np.concatenate([rows[bucket == k][:size] for k in range(BUCKETS)])
