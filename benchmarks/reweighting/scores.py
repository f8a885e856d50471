"""Reference runs, what they say of candidate sequences, and the weights of the arms."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

UNIFORM, CURRICULUM = "uniform", "curriculum"
#: Arms beside the uniform and the one-shot ones.
BASELINES = ("loss", "excess loss")
OTHERS = (*BASELINES, "one-shot tested", "predicted", CURRICULUM)
#: Candidates for better ones, which only `--arms` asks for.
CANDIDATES = ("by drop", "predicted fall")
#: Buckets of scores, and how many of them change at each end.
BUCKETS, ENDS = 10, 2
#: Seeds of the reference runs begin here: no arm has one of them.
REFERENCE_SEEDS = 1000


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What all parts of the experiment share.

    Attributes:
        preset: one of `PRESETS`.
        rows: bytes by split: reference, candidates, validation.
        folder: where the parts leave what they found.
        strengths: of the one-shot arms; below 0 the buckets in reverse.
        others: further arms, of `OTHERS` and `CANDIDATES`.
    """

    preset: dict
    rows: dict[str, np.ndarray]
    folder: Path
    strengths: tuple[float, ...]
    others: tuple[str, ...] = OTHERS

    @property
    def seeds(self) -> range:
        """Of the arms; those of the reference runs lie `REFERENCE_SEEDS` above."""
        return range(self.preset["first_seed"], self.preset["first_seed"] + self.preset["seeds"])

    @property
    def draws(self) -> int:
        """Sequences that an arm is trained on."""
        start, stop = self.preset["window"]
        return (stop - start) * self.preset["batch"]

    @property
    def training(self):
        """Size, batch and optimizer of all runs."""
        from tsl_jax.simulate import Transformer

        from .runs import Training

        return Training(
            Transformer(*self.preset["size"]), self.preset["batch"], self.preset["warmup"], self.preset["rate"]
        )

    def losses(self, k: int) -> Path:
        """Losses of candidates and validation sequences in a reference run."""
        return self.folder / f"losses-{k}.zarr"

    def fits(self, k: int) -> Path:
        """Their fits."""
        return self.folder / f"fits-{k}.zarr"


def order_of(text: np.ndarray, steps: int, batch: int, seed: int) -> np.ndarray:
    """(steps·batch,) rows of a text, all alike, each once an epoch."""
    from tsl_jax.reshape import Sampler

    sampler = Sampler(np.ones(len(text)), len(text), seed=seed)
    return np.array([sampler[k] for k in range(steps * batch)], np.int32)


def reference(experiment: Experiment, k: int) -> None:
    """Train a reference run on its own text, measure candidates and validation sequences as it comes along, and fit."""
    import jax

    import tsl_jax as tsl

    from .runs import losses

    both = np.concatenate([experiment.rows["candidates"], experiment.rows["validation"]])
    on_cpu = jax.devices()[0].platform == "cpu"  # there few enough for a core's cache
    at_once = max(1, (2**11 if on_cpu else 2**18) // experiment.preset["context"])
    parts = [both[at : at + at_once] for at in range(0, len(both), at_once)]
    size = experiment.training.size
    tsl.collect(
        lambda params, batch: losses(params, batch["before"], batch["token_id"], size),
        _as_it_trains(experiment, k),
        [{"before": part[:, :-1], "token_id": part[:, 1:]} for part in parts],
        experiment.losses(k),
        progress=lambda report: print(f"reference {k}, step {report.step:g}: {report.mean_loss:.3f} nat", flush=True),
    )
    tsl.fit_store(experiment.losses(k), experiment.fits(k), tsl.Sigmoid(scale="log"))


def measured_steps(preset: dict) -> list[int]:
    """Steps at which a reference run is measured: evenly spread in ln(step), the window's start and end among them."""
    start, stop = preset["window"]
    steps = np.geomspace(preset["first"], stop, preset["checkpoints"]).round().astype(int)
    near = np.argmin(np.abs(np.log(steps / start)))
    steps[near] = start
    return np.unique(steps).tolist()


def _as_it_trains(experiment: Experiment, k: int) -> Iterator[tuple[int, dict]]:
    import jax.numpy as jnp

    from .runs import begin, follow

    training, steps, seed = (
        experiment.training,
        measured_steps(experiment.preset),
        REFERENCE_SEEDS + experiment.seeds[0] + k,
    )
    text = experiment.rows["reference"]
    order, done = jnp.asarray(order_of(text, steps[-1], training.batch, seed)), 0
    state, _ = begin(seed, training)
    for step in steps:
        state = follow(state, order, done, step, jnp.asarray(text), training)
        done = step
        yield step, state[0]


def weights(experiment: Experiment, features: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, dict]:
    """Weights of the candidates by arm, the bucket of each validation sequence, and what the scores are worth.

    The arm that follows its own run has weights of 1 here.
    """
    import tsl_jax as tsl
    from tsl_jax.reshape import bucket_of

    from .probes import carried

    runs, number = range(experiment.preset["references"]), experiment.preset["candidates"]
    stores, window = [str(experiment.fits(k)) for k in runs], experiment.preset["window"]
    scored = tsl.score_store(stores, window, ends=ENDS, tested=False)
    early = tsl.score_store(stores, (0, window[0]), ends=ENDS, tested=False)
    tested = tsl.score_store(stores, window, ends=ENDS)
    by_drop = tsl.score_store(stores, window, ends=ENDS, tested=False, weighting="drop")
    at_start, fall = (np.mean([_losses_at(experiment, k) for k in runs], axis=0)).T
    score, bucket = scored.score[:number], np.asarray(bucket_of(scored.score[:number], BUCKETS))
    found = {UNIFORM: np.ones(number)}
    for strength in experiment.strengths:
        found[f"one-shot {strength:g}" if strength > 0 else f"reversed {-strength:g}"] = lifted(score, strength)
    predicted, worth = carried(features, score[: experiment.preset["probes"]])
    others = {
        "loss": lifted(at_start[:number], 1.0),
        "excess loss": lifted(fall[:number], 1.0),
        "one-shot tested": lifted(tested.score[:number], 1.0),
        "predicted": predicted,
        CURRICULUM: np.ones(number),
        "by drop": lifted(by_drop.score[:number], 1.0),
        "predicted fall": carried(features, fall[: experiment.preset["probes"]])[0],
    }
    found |= {name: others[name] for name in experiment.others}
    beside = {
        "loss at the start": at_start,
        "fall of the loss": fall,
        "share learned before": early.score,
        "tested score": tested.score,
    }
    return (
        found,
        np.asarray(bucket_of(scored.score[number:], BUCKETS)),
        {
            "steps": measured_steps(experiment.preset),
            "reliability_over_tokens": list(scored.over_tokens),
            "reliability_between_runs": list(scored.between_runs),
            "reliability_of_tested_scores": list(tested.between_runs),
            "predicted": worth,
            "warnings": list(scored.warnings),
            "score": [float(score[bucket == k].mean()) for k in range(BUCKETS)],
            **{
                name: [float(each[:number][bucket == k].mean()) for k in range(BUCKETS)]
                for name, each in beside.items()
            },
            "correlation_with_score": {
                name: float(np.corrcoef(each[:number], score)[0, 1]) for name, each in beside.items()
            },
        },
    )


def lifted(score: np.ndarray, strength: float) -> np.ndarray:
    """Weights that change the buckets at both ends alone; of a strength below 0 by those of the reversed scores."""
    from tsl_jax.reshape import bucket_of, bucket_weights

    bucket = bucket_of(score if strength > 0 else -score, BUCKETS)
    return np.asarray(bucket_weights(bucket, BUCKETS, strength=abs(strength), ends=ENDS), np.float64)


def _losses_at(experiment: Experiment, k: int) -> np.ndarray:
    """(sequences, 2) mean loss at the window's start, and its fall until the end, in a reference run."""
    import tsl_jax as tsl

    store, context = tsl.open_losses(experiment.losses(k)), experiment.preset["context"]
    start, stop = (measured_steps(experiment.preset).index(step) for step in experiment.preset["window"])
    found, rows = [], 1024 * context
    for first in range(0, store.num_tokens, rows):
        part = store.read(slice(first, first + rows))[:, [start, stop]].astype(np.float64)
        found.append(part.reshape(-1, context, 2).mean(axis=1))
    both = np.concatenate(found)
    return np.stack([both[:, 0], both[:, 0] - both[:, 1]], axis=1)


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    beside = path.with_suffix(".part")
    beside.write_text(text)
    os.replace(beside, path)
