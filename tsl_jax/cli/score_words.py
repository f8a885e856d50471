"""What `tsl score` says of scores and weights."""

from typing import TYPE_CHECKING, Any

from .streams import output_console, say, warn

if TYPE_CHECKING:
    from ..jobs import SampleWeights


def describe(found: "SampleWeights", window: tuple[float, float], axis: str) -> dict[str, Any]:
    """What the scores say, as JSON can hold it."""
    import numpy as np

    rows = []
    for k in range(int(found.bucket.max()) + 1):
        inside = found.bucket == k
        if not inside.any():  # as where buckets are those of small domains
            continue
        rows.append(
            {
                "bucket": k + 1,
                "sequences": int(inside.sum()),
                "lowest_score": float(found.score[inside].min()),
                "mean_score": float(found.score[inside].mean()),
                "highest_score": float(found.score[inside].max()),
                "weight": float(found.weight[inside].mean()),
            }
        )
    return {
        "axis": axis,
        "window": list(window),
        "weighting": found.weighting,
        "score_unit": found.score_unit,
        "sequences": len(found.sequence),
        "tokens": int(found.tokens.sum()),
        "events": float(np.sum(found.events)),
        "effective_sample_size": found.effective_sample_size,
        "reliability": {"over_tokens": found.over_tokens._asdict(), "between_runs": found.between_runs._asdict()},
        "warnings": list(found.warnings),
        "noise": found.noise or None,
        "written": None,
        "buckets": rows,
    }


def print_scores(said: dict[str, Any]) -> None:
    """Buckets, reliability and doubts, and what was written."""
    console = output_console()
    console.print(_table(said))
    fraction = said["effective_sample_size"] / said["sequences"]
    console.print(
        f"{said['events']:,.1f} of {said['tokens']:,} tokens are learned within the window. Effective sample size "
        f"{said['effective_sample_size']:,.1f} of {said['sequences']:,} sequences ({fraction:.1%})."
    )
    for name, source in (("over_tokens", "from halves of their tokens"), ("between_runs", "from runs")):
        found = said["reliability"][name]
        if found["value"] == found["value"]:
            interval = f"95% interval {found['low']:.2f} to {found['high']:.2f}"
            console.print(f"Reliability of the scores, {source}: {found['value']:.2f} ({interval}).")
    for warning in said["warnings"]:
        warn(warning)
    if said["noise"]:
        warn(f"No weights are written, since they would be noise: {said['noise']}.")
    for name in ("picture", "written"):
        if said.get(name):
            say(console, f"Written: {said[name]}", "green")


def _table(said: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    falls = said.get("fall_within_window")
    unit = "" if said["score_unit"] == "1" else f" ({said['score_unit']})"
    scores = (f"{name}{unit}" for name in ("lowest score", "mean", "highest"))
    names = ("bucket", "sequences", *scores, "weight", *(["fall (nat)"] if falls else []))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in said["buckets"]:
        k = row["bucket"] - 1
        cells = [str(row["bucket"]), f"{row['sequences']:,}"]
        cells += [f"{row[name]:.4f}" for name in ("lowest_score", "mean_score", "highest_score")]
        cells += [f"{row['weight']:.3f}"]
        cells += [f"{falls[k]:.4f} ± {said['fall_stderr'][k]:.4f}"] if falls else []
        table.add_row(*cells)
    return table
