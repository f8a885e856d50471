"""Training runs that differ in their seed alone, each collected into a loss store of the same validation tokens."""

from pathlib import Path

import numpy as np

from ..texts import DOMAINS, split_texts

#: Losses of about this many tokens are computed at once.
_TOKENS_AT_ONCE = 2**13


def stores(folder: Path, preset: dict, text: str | None) -> tuple[list[Path], dict]:
    """The loss stores of a preset's seeds, trained and collected one after another where they are not there yet.

    Args:
        folder: of the stores `run0.zarr`, `run1.zarr`, ...
        preset: sizes, see `benchmarks seeds`.
        text: folder of text files; by default what comes with Python.

    Returns:
        Where the stores are, and what the text was.

    Raises:
        SystemExit: a store that is there comes from another preset or another text.
    """
    paths = [folder / f"run{seed}.zarr" for seed in range(preset["seeds"])]
    found = [made_with(path) for path in paths]
    first = found[0]
    rows, described = ({}, first["text"]) if first and None not in found else split(preset, text)
    wanted = {"preset": without_seeds(preset), "text": described}
    for path, made in zip(paths, found, strict=True):
        if made not in (None, wanted):
            raise SystemExit(f"{path.name}: made with {made}, expected {wanted}; name another folder (--stores)")
    for seed, path in enumerate(paths):
        if found[seed] is None:
            _train(path, seed, preset, rows, wanted)
    return paths, described


def made_with(path: Path) -> dict | None:
    """Preset and text of a finished loss store of `stores`; None where there is none."""
    import tsl_jax as tsl
    from tsl_jax.store import StoreError

    try:
        return tsl.open_losses(path).attributes.get("benchmark", {})
    except StoreError:
        return None


def without_seeds(preset: dict) -> dict:
    """What all runs of a preset share, as JSON gives it back."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in preset.items() if name != "seeds"}


def split(preset: dict, folder: str | None) -> tuple[dict[str, np.ndarray], dict]:
    """Rows of training and validation text, as many of each domain, and what the text was."""
    parts = {}
    for domain in DOMAINS:
        numbers = {name: preset[name] // len(DOMAINS) for name in ("training", "validation")}
        parts[domain] = split_texts(folder, numbers, preset["context"], domain=domain)
    rows = {name: np.concatenate([parts[domain][0][name] for domain in DOMAINS]) for name in ("training", "validation")}
    described = [parts[domain][1] for domain in DOMAINS]
    return rows, {
        "source": described[0]["source"],
        "files": {domain: found["files"] for domain, found in zip(DOMAINS, described, strict=True)},
        "digest": "".join(found["digest"] for found in described),
    }


def checkpoints(preset: dict) -> np.ndarray:
    """Steps that are measured: geometric from the first update to the last, without repetitions."""
    return np.unique(np.geomspace(1, preset["steps"], preset["checkpoints"]).round().astype(int))


def _train(path: Path, seed: int, preset: dict, rows: dict, made: dict) -> None:
    """Train one seed and write its losses; first weights and the order of batches are its own."""
    import tsl_jax as tsl
    from tsl_jax.simulate import Transformer

    from ..reweighting.runs import Training, advance, begin, losses

    training = Training(Transformer(*preset["size"]), preset["batch"], preset["warmup"], preset["rate"])
    number, steps = len(rows["training"]), checkpoints(preset)
    chances = np.arange(1, number + 1, dtype=np.float32) / number  # all rows are equally likely

    def run():
        (state, key), done = begin(seed, training), 0
        for step in steps.tolist():
            state = advance(state, key, chances, done, step, rows["training"], training)
            done = step
            yield step, state[0]

    def show(report):
        if report.step in steps[:: max(len(steps) // 5, 1)] or report.step == steps[-1]:
            print(f"seed {seed}, step {report.step:g}: {report.mean_loss:.3f} nat", flush=True)

    tsl.collect(
        lambda params, batch: losses(params, batch["before"], batch["token_id"], training.size),
        run(),
        _batches(rows["validation"], preset["context"]),
        path,
        coordinates=lambda step: {"tokens_seen": float(step * preset["batch"] * preset["context"])},
        dtype=np.float32,
        attributes={"domains": list(DOMAINS), "seed": seed, "benchmark": made},
        progress=show,
    )


def _batches(text: np.ndarray, context: int) -> list[dict]:
    domain = np.arange(len(text)) * len(DOMAINS) // len(text)
    at_once = max(_TOKENS_AT_ONCE // context, 1)
    parts = [slice(at, at + at_once) for at in range(0, len(text), at_once)]
    return [
        {"before": text[part, :-1], "token_id": text[part, 1:].astype(np.int32), "domain": domain[part]}
        for part in parts
    ]
