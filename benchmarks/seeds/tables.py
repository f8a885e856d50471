"""Tables of what runs of other seeds say of each other."""

from .. import record
from .statistics import LEVEL, PARAMETERS


def tables(result: dict) -> str:
    """All tables in Markdown: parameters by pair and by learning time, categories, claims."""
    pairs, between = result["pairs"], result.get("between_runs")
    parts = [_parameters(pairs), _by_learning_time(pairs), *([_between_runs(between)] if between else [])]
    return "\n\n".join([*parts, _categories(pairs), *_all_claims(result)])


def page(result: dict) -> str:
    """What of it stands in the documentation: coverage by learning time, and claims."""
    between = result.get("between_runs")
    parts = [_by_learning_time(result["pairs"]), *([_between_runs({"2, 3": between["2, 3"]})] if between else [])]
    return "\n\n".join([*parts, *_all_claims(result)])


def _all_claims(result: dict) -> list[str]:
    """Claims from one run, of runs that the defaults do not come from where there are any, and with components."""
    between, claims = result.get("between_runs"), result["claims"]
    if not claims:
        return []
    kept_aside = {
        window: {pair: one for pair, one in pairs.items() if not set(pair) & {"0", "1"}}
        for window, pairs in claims.items()
    }
    found = [_claims("Claims of events within a window, from one run", kept_aside if between else claims)]
    if between:
        found.append(_claims("The same with the components of runs 0 and 1", between["claims"]))
    return found


def _parameters(pairs: dict) -> str:
    rows = []
    for pair, found in pairs.items():
        rank = found["rank_correlation"]
        cells = [_covered(found["parameters"][name]) for name in PARAMETERS]
        rows.append([pair, f"{found['learned_in_both']:,}", *cells, "none" if rank is None else f"{rank:.3f}"])
    named = [label for label, _ in PARAMETERS.values()]
    header = ["runs", "LEARNED in both", *named, "rank correlation of learning times"]
    return f"Within the {LEVEL:.0%} interval (half-width of z):\n\n{record.table(header, rows)}"


def _by_learning_time(pairs: dict) -> str:
    rows = []
    for window in next(iter(pairs.values()))["by_learning_time"]:
        found = [pair["by_learning_time"][window] for pair in pairs.values()]
        pooled = {name: _pooled([one[name] for one in found]) for name in PARAMETERS}
        cells = ["none" if not one else f"{one['fraction']:.1%} ({one['half_width']:.2f})" for one in pooled.values()]
        rows.append([window, f"{sum(one['learning_time']['tokens'] for one in found) / len(found):,.0f}", *cells])
    header = ["learned at step", "tokens of a pair", *(label for label, _ in PARAMETERS.values())]
    words = f"Within the {LEVEL:.0%} interval by when tokens are learned (half-width of z), mean of the pairs"
    return f"{words}:\n\n{record.table(header, rows)}"


def _between_runs(between: dict) -> str:
    rows = []
    for pair in (pair for pair in ("0, 1", "2, 3") if pair in between):
        for name, found in between[pair].items():
            rows.append([pair, name, *(_percent(found[parameter]) for parameter in PARAMETERS)])
    header = ["runs", "tokens", *(label for label, _ in PARAMETERS.values())]
    words = "Within the 90% interval with the components that runs 0 and 1 say; runs 2 and 3 were kept aside"
    return f"{words}:\n\n{record.table(header, rows)}"


def _categories(pairs: dict) -> str:
    rows = []
    for kind in next(iter(pairs.values()))["categories"]:
        found = [pair["categories"][kind] for pair in pairs.values()]
        chance = sum(one["by_chance"] for one in found) / len(found)
        rows.append([kind, *(f"{_percent(one)} of {one['tokens']:,}" for one in found), f"{chance:.1%}"])
    return "So again in the other run:\n\n" + record.table(["", *pairs, "by chance"], rows)


def _claims(title: str, windows: dict) -> str:
    """Of tokens by how likely one run says they are learned in a window, how many are so in the other."""
    names = list(next(iter(next(iter(windows.values())).values())))
    rows = []
    for window, pairs in [*windows.items(), ("all", None)]:
        found = [*pairs.values()] if pairs else [one for every in windows.values() for one in every.values()]
        cells = []
        for name in names:
            mean, number = _pooled([one[name] for one in found]), sum(one[name]["tokens"] for one in found)
            cells.append(f"{mean['claimed']:.1%}: {mean['fraction']:.1%} of {number:,}" if mean else "none")
        rows.append([window, *cells])
    return f"{title} (mean claim: came true in the other run):\n\n{record.table(['steps', *names], rows)}"


def _pooled(found: list[dict]) -> dict:
    """Means over pairs, each as much as it has tokens; empty where none has any."""
    given = [one for one in found if one["tokens"]]
    number = sum(one["tokens"] for one in given)
    names = [name for name in (given[0] if given else {}) if name not in ("tokens", "stderr")]
    return {name: sum(one[name] * one["tokens"] for one in given) / number for name in names}


def _covered(one: dict) -> str:
    return "none" if one["fraction"] is None else f"{_percent(one)} ({one['half_width']:.2f})"


def _percent(found: dict) -> str:
    return "none" if found["fraction"] is None else f"{100 * found['fraction']:.1f} ± {100 * found['stderr']:.1f}%"
