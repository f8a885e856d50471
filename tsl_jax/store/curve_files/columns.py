"""Which column of a table is the step, the loss, the learning rate: names that training frameworks give them."""

import re
from collections.abc import Mapping, Sequence

from .tables import LossCurveError, Table

#: Spellings by what they mean, the best ones first; a file that has several of one group does not say which it is.
_SPELLINGS: Mapping[str, Sequence[Sequence[str]]] = {
    "step": (
        ("step", "steps"),
        ("global_step", "train/global_step", "trainer/global_step", "opt_step", "optimizer_step", "train_step"),
        ("iteration", "iterations", "iter", "iter_num", "update", "updates", "num_updates", "training_step", "s"),
        ("_step",),
    ),
    "loss": (
        ("loss",),
        ("train/loss", "train_loss", "training_loss", "training/loss", "loss/train", "loss_train", "trl", "lm_loss"),
        ("loss_avg", "avg_loss", "mean_loss", "loss_mean", "train/loss_avg", "train/loss_step", "train_loss_step"),
        (
            *("eval_loss", "eval/loss", "val_loss", "val/loss", "validation_loss", "validation/loss", "valid_loss"),
            *("valid/loss", "loss/val", "loss/eval", "loss/valid", "loss/validation", "test_loss", "test/loss", "tel"),
        ),
    ),
    "learning_rate": (
        ("lr", "learning_rate"),
        ("train/learning_rate", "train/lr", "train_lr", "optim/lr", "optim/learning_rate", "optimizer/lr"),
        ("lr/group_0", "optim/learning_rate_group0", "learning_rate/group_0", "lr-adam", "lr-adamw", "lr-sgd"),
    ),
    "final_loss": (
        ("final_loss", "loss_final", "best_loss", "min_loss", "last_loss"),
        ("loss", "l"),
        ("val_loss", "eval_loss", "validation_loss", "valid_loss", "test_loss", "eval/loss", "val/loss"),
        ("train_loss", "training_loss", "train/loss", "training/loss"),
    ),
    "size": (
        ("n", "size", "model_size", "num_params", "n_params", "params", "parameters", "num_parameters", "model_params"),
        ("non_embedding_params", "non-embedding_params", "n_non_embedding", "params_non_embedding", "total_params"),
    ),
    "tokens": (
        ("d", "tokens", "training_tokens", "train_tokens", "num_tokens", "n_tokens", "tokens_seen", "data"),
        ("data_size", "dataset_tokens", "total_tokens"),
    ),
    "unique_tokens": (("unique_tokens", "tokens_unique", "num_unique_tokens", "unique_data", "u"),),
    "flops": (("c", "flops", "flop", "training_flops", "training_flop", "train_flops", "compute", "total_flops"),),
}
#: Names that say which of several runs a row belongs to.
_RUN_COLUMNS = ("run", "run_id", "runid", "run_name", "run_name_or_id", "experiment", "seed", "trial")
#: The command's options, by what they name.
OPTIONS = {
    "step": "--step-column",
    "loss": "--loss-column",
    "learning_rate": "--lr-column",
    "run": "--run",
    "final_loss": "--loss-column",
    "size": "--size-column",
    "tokens": "--tokens-column",
    "flops": "--flops-column",
    "unique_tokens": "--unique-column",
}


def spelling(name: str) -> str:
    """The first name of a column, which messages use."""
    return _SPELLINGS[name][0][0]


def find_columns(
    table: Table, needed: Sequence[str], others: Sequence[str], names: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Which column holds what, and a note where a file has more of a kind than one.

    Raises:
        LossCurveError: a column is absent, or there are several that it could be.
    """
    places: dict[str, int] = {}
    notes: list[str] = []
    for name in (*needed, *others):
        if name in names:
            places[name] = _named(table, name, names[name])
            continue
        group, found = _known(table.header, name)
        if len(found) > 1:
            same = [table.header[place] for place in found]
            run = (
                f", or the run: {OPTIONS['run']} {run_of(same[0])!r}"
                if len(set(map(run_of, same))) == len(same)
                else ""
            )
            raise LossCurveError(
                f"{table.path}: columns {_listed(same)} all could be the {name}; keep one of them, or name it: "
                f"{OPTIONS[name]} {same[0]!r}{run}"
            )
        if found:
            places[name] = found[0]
            rest = sum(len(places) for places in _candidates(table.header, name)) - 1
            if group and rest:
                notes.append(f"the {name} is column {table.header[found[0]]!r} ({OPTIONS[name]} names another)")
        elif name in needed:
            expected = ",".join(spelling(column) for column in needed)
            raise LossCurveError(
                f"{table.path}: no column {spelling(name)!r} among {_listed(table.header)}, expected a header line "
                f"such as {expected!r}; add it, or name the column that holds the {name}: {OPTIONS[name]} NAME"
                + (f" (or {OPTIONS['run']} NAME, where each run has a column)" if name == "loss" else "")
            )
    return places, notes


def _named(table: Table, name: str, wanted: str) -> int:
    found = [place for place, column in enumerate(table.header) if column == wanted]
    if len(found) != 1:
        what = "no column" if not found else f"{len(found)} columns"
        raise LossCurveError(
            f"{table.path}: {what} {wanted!r} among {_listed(table.header)}, expected one; {OPTIONS[name]} takes a "
            "name of these"
        )
    return found[0]


def _known(header: Sequence[str], name: str) -> tuple[int, list[int]]:
    """The best group of spellings that a header has, and its columns of that group."""
    groups = _candidates(header, name)
    best = next((group for group, found in enumerate(groups) if found), 0)
    return best, groups[best]


def _candidates(header: Sequence[str], name: str) -> list[list[int]]:
    """Columns of each group of spellings."""
    columns = [_plain(column) for column in header]
    if name == "loss" and {"wall_time", "step", "value"} <= set(columns):  # as TensorBoard exports a curve
        columns = ["loss" if column == "value" else column for column in columns]
    return [[place for place, column in enumerate(columns) if column in group] for group in _SPELLINGS[name]]


def _plain(column: str) -> str:
    """A name without what frameworks write differently: capitals, blanks, dots, and the run before it in wandb's."""
    column = re.sub(r"\s*[(\[][^()\[\]]*[)\]]$", "", column.strip())  # a unit
    if column.endswith(("__MIN", "__MAX")):
        return ""
    metric = re.fullmatch(r".+ - (.+)", column, re.DOTALL)
    return (metric[1] if metric else column).lower().replace(" ", "_").replace(".", "/")


def run_of(column: str) -> str:
    """The run before a metric's name in a column of wandb; empty where there is none."""
    return column.strip().rpartition(" - ")[0]


def columns_of_run(table: Table, name: str | None) -> Table:
    """Without the columns of other runs, in tables with a column a run: ``a - train/loss``, or ``a``.

    Raises:
        LossCurveError: it has columns of runs, and none of this name.
    """
    if name is None:
        return table
    runs = list(dict.fromkeys(filter(None, map(run_of, table.header))))
    kept = [place for place, column in enumerate(table.header) if run_of(column) in ("", name)]
    header = [table.header[place] for place in kept]
    if runs and name not in runs:
        raise LossCurveError(
            f"{table.path}: no run {name!r} among its columns, {_listed(runs)}; {OPTIONS['run']} takes one of these"
        )
    if not runs and name in header and not _known(header, "loss")[1]:
        header[header.index(name)] = spelling("loss")
    return table._replace(header=header, rows=[[row[place] for place in kept] for row in table.rows])


def by_tag(table: Table) -> Table:
    """A table with a row for each tag and step, as TensorBoard's data frames, with a column for each tag instead."""
    columns = [_plain(column) for column in table.header]
    if not {"tag", "step", "value"} <= set(columns):
        return table
    tag, value = columns.index("tag"), columns.index("value")
    names = list(dict.fromkeys(str(row[tag]).strip() for row in table.rows))
    kept = [place for place in range(len(columns)) if place not in (tag, value)]
    rows = [
        [row[place] for place in kept] + [row[value] if str(row[tag]).strip() == name else None for name in names]
        for row in table.rows
    ]
    return table._replace(header=[table.header[place] for place in kept] + names, rows=rows)


def rows_of_run(table: Table, name: str | None) -> Table:
    """The rows of one run of a table: of the one that is named, or of the only one that it holds.

    Raises:
        LossCurveError: it holds several and none is named, or none of this name.
    """
    table = by_tag(table)
    for place, column in enumerate(table.header):
        if column.strip().lower().replace(" ", "_") in _RUN_COLUMNS:
            of_rows = ["" if row[place] is None else str(row[place]).strip() for row in table.rows]
            runs = list(dict.fromkeys(of_rows))
            if name is None and len(runs) > 1:
                raise LossCurveError(
                    f"{table.path}: holds {len(runs)} runs by its column {column!r}, {_listed(runs)}, expected one; "
                    f"name it ({OPTIONS['run']} {runs[0]!r}), or write a file a run"
                )
            if name is not None:
                if name not in runs:
                    raise LossCurveError(
                        f"{table.path}: no run {name!r} in its column {column!r}, {_listed(runs)}; {OPTIONS['run']} "
                        "takes one of these"
                    )
                kept = [number for number, run in enumerate(of_rows) if run == name]
                rows, places = ([values[number] for number in kept] for values in (table.rows, table.places))
                return table._replace(rows=rows, places=places)
            return table
    return columns_of_run(table, name)


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:most])
    return f"[{shown}{f', and {len(names) - most} more' if len(names) > most else ''}]"
