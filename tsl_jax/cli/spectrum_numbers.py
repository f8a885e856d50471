"""The analysis of a spectrum as JSON can hold it."""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..jobs import Analysis


def describe(analysis: "Analysis") -> dict[str, Any]:
    """All numbers; ``[value, low, high]`` where there is a band. Curves are in the pictures and in Python."""
    read, options = analysis.read, analysis.options
    grid, tokens = read.spectrum.grid, read.spectrum.tokens
    counted = sum(tokens[name] for name in ("LEARNED", "EARLY", "LATE", "UNLEARNED", "CONSTANT"))
    outside = tokens["EARLY"] + tokens["LATE"]
    return {
        "axis": read.axis_name,
        "scale": grid.scale,
        "window": [grid.first, grid.last],
        "weighting": options.weighting,
        "outside_rule": options.outside,
        "level": options.level,
        "replicates": options.replicates,
        "resampled": read.sequences,
        "resample_groups": analysis.resamples,
        "tokens": sum(tokens.values()),
        "tokens_by_kind": tokens,
        **{f"learned_{side}": number for side, number in read.spectrum.learned.items()},
        "outside_fraction": {
            "tokens": outside / counted if counted else None,
            "visible_drop": _banded(analysis, lambda c: c.outside),
        },
        "tail": _tails(analysis),
        "mean_loss_law": {
            name: _three(*(ends[name] for ends in _ends(analysis.mean_loss_law)))
            for name in ("coefficient", "exponent", "floor")
        }
        | {"of": "mean of the fits" if analysis.curves.value.comparison is None else "mean loss"},
        "broadening": {
            name: _banded(analysis, lambda c, name=name: getattr(c.broadening, name))
            for name in ("ratio", "error", "median", "wider", "width")
        }
        | {"bin": analysis.curves.value.broadening.bin},
        "comparison": _comparison(analysis),
        "second_events": _second_events(analysis),
        "binning_bound": {"loss": float(analysis.bound.loss), "slope": float(analysis.bound.slope)},
        "energy_fractions": {
            name: [_banded(analysis, lambda c, name=name, i=i: c.modes[name].energy[i]) for i in range(4)]
            for name in analysis.curves.value.modes
        },
        "groups": {name: _groups(analysis, name) for name in analysis.groups},
        "reasons": list(analysis.reasons),
    }


def _tails(analysis: "Analysis") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, tail in analysis.curves.value.tails.items():
        result[name] = {
            "exponent": _banded(analysis, lambda c, name=name: c.tails[name].exponent),
            "stderr": float(tail.stderr),
            "lower": float(tail.lower),
            "upper": float(tail.upper),
            "events": float(tail.events),
            "fraction": float(tail.fraction),
            "ks_distance": float(tail.distance),
        }
    result["count"]["goodness_p"] = analysis.goodness
    result["count"]["against"] = {
        law: {"log_ratio": float(one.log_ratio), "z": float(one.z), "p": float(one.p)}
        for law, one in analysis.rivals.items()
    }
    return result


def _comparison(analysis: "Analysis") -> dict[str, Any] | None:
    comparison = analysis.curves.value.comparison
    if comparison is None:
        return None
    return {
        "r2": {
            name: _banded(analysis, lambda c, name=name: c.comparison.scores[name].r2) for name in comparison.scores
        },
        "relative_error": {
            name: _banded(analysis, lambda c, name=name: c.comparison.scores[name].error) for name in comparison.scores
        },
        "missing": {
            name: _banded(analysis, lambda c, name=name: c.comparison.split[name]) for name in comparison.split
        },
        "bandwidth": comparison.bandwidth,
    }


def _second_events(analysis: "Analysis") -> dict[str, Any] | None:
    """What is missing of the derivative, as norms relative to that of the mean loss's derivative."""
    second, comparison = analysis.curves.value.second, analysis.curves.value.comparison
    if second is None or comparison is None:
        return None
    ends = [one.second.missing for one in _ends(analysis.curves)]
    size = math.sqrt(float((comparison.observed**2).sum()))
    # Pointwise bands as those of a normal distribution: half their width is this many standard deviations.
    sigmas = NormalDist().inv_cdf((1 + analysis.options.level) / 2)
    between = math.sqrt(float(((ends[2] - ends[1]) ** 2).sum())) / (2 * sigmas)
    return {
        "tokens": _banded(analysis, lambda c: c.second.tokens),
        "fraction_of_missing": _banded(analysis, lambda c: c.second.fraction),
        "fraction_of_constants": _banded(analysis, lambda c: c.second.constants),
        "missing": _banded(analysis, lambda c: c.comparison.split["sigmoid"]),
        "noise_between_sequences": between / size if size > 0 else None,
        "noise_between_runs": _banded(analysis, lambda c: c.second.between_runs),
    }


def _groups(analysis: "Analysis", name: str) -> list[dict[str, Any]]:
    group = analysis.groups[name]
    labels = [*group.grouping.labels, None]
    return [
        {
            "group": label,
            "tokens_by_kind": group.tokens[index],
            **{
                field: _three(*(getattr(ends, field)[index] for ends in _ends(group.times)))
                for field in ("learned", "median", "mean")
            },
        }
        for index, label in enumerate(labels)
        if label is not None or any(group.tokens[index].values())
    ]


def _banded(analysis: "Analysis", get: Any) -> list[float]:
    return _three(*(get(ends) for ends in _ends(analysis.curves)))


def _ends(bands: Any) -> tuple[Any, Any, Any]:
    return bands.value, bands.low, bands.high


def _three(*values: Any) -> list[float]:
    return [float(value) for value in values]
