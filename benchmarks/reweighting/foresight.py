"""What scores of a real run foresee, and what its text says of them.

    python -m benchmarks foresight [LOSSES] [--out FILE]

*Predicted scores*: sequences are scored for a window by fits of the whole run (`score_store`), and `ScorePredictor`
predicts the scores from features of the text, counted on other sequences, from mean losses of the same run at two
checkpoints before the window, and from both. *Curriculum*: what `Curriculum` plans at some steps s for the window from
s to 2s, having seen every third checkpoint until then, beside what comes: the share of a sequence's tokens that fits of
the whole run show to be learned there, and the fall of its mean loss; and beside the simpler guess, the fall of its
loss from s/2 to s.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from .. import record

#: Window of the predicted scores, checkpoints of the two losses, and sequences that text is counted on.
WINDOW, LOSSES_AT, COUNTED = (100, 400), (50, 100), 128
#: Steps at which a curriculum plans, as near as there are checkpoints.
PLANNED = (46, 89, 170, 377, 722)
LOSSES = Path(__file__).parents[3] / "shared" / "data" / "real_lm" / "constant.zarr"


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    import tsl_jax as tsl

    with tempfile.TemporaryDirectory() as folder:
        fits = f"{folder}/fits.zarr"
        tsl.fit_store(options.losses, fits, tsl.Sigmoid(scale="log"))
        run = Run(options.losses, fits)
        result = {
            "benchmark": "foresight",
            "environment": record.environment(),
            "sequences": len(run.mean),
            "window": list(WINDOW),
            "predicted": run.predicted(),
            "curriculum": [run.planned(step) for step in PLANNED],
        }
    print(table(result))
    return record.finish(result, options.out)


class Run:
    """Losses of a run after step 0, by checkpoint and sequence, and its fits.

    Args:
        losses: loss store whose tokens know `sequence` and `token_id`.
        fits: its fit store.
    """

    def __init__(self, losses: str, fits: str) -> None:
        import tsl_jax as tsl

        store = tsl.open_losses(losses)
        step = np.asarray(store.checkpoint_coordinates["step"], float)
        self.fits, self.step = fits, step[step > 0]
        self.sequence, self.token_id = (np.asarray(store.read_coordinate(name)) for name in ("sequence", "token_id"))
        self.losses = store.read()[:, step > 0].astype(np.float32)
        place = np.unique(self.sequence, return_inverse=True)[1]
        self.mean = np.stack([np.bincount(place, row) / np.bincount(place) for row in self.losses.T], axis=1)

    def mean_at(self, step: float) -> np.ndarray:
        """(sequences,) mean loss at the checkpoint next to a step."""
        return self.mean[:, self._near(step)]

    def _near(self, step: float) -> int:
        return int(np.argmin(np.abs(np.log(self.step / step))))

    def predicted(self) -> dict:
        """How well scores are predicted on sequences held out, by features; and how reliable they are."""
        import tsl_jax as tsl
        from tsl_jax.reshape import TEXT_FEATURES, ScorePredictor, TextCounts

        scored = tsl.score_store(self.fits, WINDOW)
        judged = scored.sequence >= np.unique(self.sequence)[COUNTED]
        counted = self.sequence < scored.sequence[judged][0]
        text = TextCounts.of_text(self.token_id[counted], self.sequence[counted])
        text = text.features(self.token_id[~counted], self.sequence[~counted])
        losses = np.stack([self.mean_at(step)[judged] for step in LOSSES_AT], axis=1)
        frequency = text[:, [TEXT_FEATURES.index("mean_log_frequency")]]
        features = {
            "mean log frequency": frequency,
            "text": text,
            "two mean losses": losses,
            "text and two mean losses": np.column_stack([text, losses]),
        }
        made = {name: ScorePredictor.from_scores(each, scored.score[judged]) for name, each in features.items()}
        return {
            "sequences": int(judged.sum()),
            "reliability": list(scored.over_tokens),
            "by": {name: {"r2": each.r2, "interval": list(each.r2_interval)} for name, each in made.items()},
        }

    def planned(self, step: float) -> dict:
        """How a plan at a step, and the fall of losses before it, go with what comes until twice that step."""
        import tsl_jax as tsl
        from tsl_jax.reshape import Curriculum

        last = self._near(step)
        curriculum = Curriculum(self.sequence)
        for at in range(last % 3, last + 1, 3):
            curriculum.observe(self.step[at], self.losses[:, at])
        now = float(self.step[last])
        plan = curriculum.plan(factor=2)
        learned = tsl.score_store(self.fits, (now, 2 * now), tested=False).score
        before, after = (self.mean_at(a) - self.mean_at(b) for a, b in ((now / 2, now), (now, 2 * now)))
        guesses, comes = {"score": plan.score, "fall before": before}, {"learned": learned, "fall": after}
        return {
            "step": now,
            "reliability": plan.reliability.value,
            **{
                f"{guess} and {name}": float(np.corrcoef(values, come)[0, 1])
                for guess, values in guesses.items()
                for name, come in comes.items()
            },
        }


def table(result: dict) -> str:
    """Both tables."""
    predicted = [
        [name, f"{one['r2']:.2f} ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})"]
        for name, one in result["predicted"]["by"].items()
    ]
    names = [f"{guess} and {come}" for come in ("learned", "fall") for guess in ("score", "fall before")]
    plans = [
        [f"{one['step']:g} to {2 * one['step']:g}", *(f"{one[n]:.2f}" for n in names)] for one in result["curriculum"]
    ]
    told = (
        "the share learned: by the score",
        "by the fall before",
        "the next fall: by the score",
        "by the fall before",
    )
    return "\n\n".join(
        [
            record.table(["scores predicted from", "R² on sequences held out"], predicted),
            f"Reliability of these scores: {result['predicted']['reliability'][0]:.2f}.",
            record.table(["window", *told], plans),
        ]
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("foresight", __doc__)
    parser.add_argument("losses", nargs="?", default=str(LOSSES), help="loss store with sequences and token ids")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
