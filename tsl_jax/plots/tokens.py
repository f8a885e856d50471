"""A grid of single tokens: measured losses, the fit, and when the token was learned."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..curves import Family
from ..fitting import Category, curve_counts
from ..jobs import family_of, predict_store
from ..jobs.domains import domains_of, read_domains
from ..jobs.in_memory import MemoryFits, MemoryLosses, fits_source, losses_source
from ..store import FitStore, LossStore
from .token_choice import MOST_COLUMNS, MOST_TOKENS, choose, columns_of, members_of, rows_of

_CURVE_POINTS = 200
#: Of so few tokens all are drawn; and no more than so many, however many are asked for.
FEW_TOKENS, MOST_PANELS = 10, 200


@dataclasses.dataclass(frozen=True)
class TokenPanel:
    """One token: losses (checkpoints used,), its fit (curve points,), and what is said of it.

    Attributes:
        token: its row in the stores.
        labels: its coordinates that have a place in the title, by name, such as ``{"position": 17}``.
        losses: measured losses, nat, NaN where missing or not given.
        fitted: the curve or constant that counts at `TokenGrid.curve_axis`, nat.
        category: name of its `Category`.
        event: axis value of its event, NaN without one.
        event_stderr: its standard error, NaN where the data give none.
        constant: whether the constant counts, not the curve.
        r2: of the line that is drawn; a constant's is 0.
    """

    token: int
    labels: dict[str, int | str]
    losses: np.ndarray
    fitted: np.ndarray
    category: str
    event: float
    event_stderr: float
    constant: bool
    r2: float


@dataclasses.dataclass(frozen=True)
class TokenGrid:
    """Panels in rows (kinds of tokens, or tokens as given) and columns; None where there is no such token.

    Attributes:
        axis: (checkpoints used,) axis values.
        curve_axis: (points,) axis values of the curves, dense, over the same window.
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
        event: name of the parameter that is an event, None for families without.
        row_labels: one a row; empty for tokens as given.
        panels: rows of panels.
    """

    axis: np.ndarray
    curve_axis: np.ndarray
    axis_name: str
    scale: str
    event: str | None
    row_labels: tuple[str, ...]
    panels: tuple[tuple[TokenPanel | None, ...], ...]


def tokens_data(
    losses: Any,
    fits: Any,
    *,
    tokens: Sequence[int] | None = None,
    family: Family | None = None,
    time: Any = None,
    axis: str = "step",
) -> TokenGrid:
    """Read the tokens of the grid: those given, or chosen by a rule; the same fits give the same grid.

    The rule: among the first `MOST_TOKENS` tokens, for every row of `ROWS` (category, sign of the drop) and
    every one of the first `MOST_COLUMNS` domains, the token whose R² is at the row's quantile. Stores without
    domains have five quantiles of R² as columns; a token at several of them is drawn once. Of at most `FEW_TOKENS`
    tokens all are taken; of tokens that are all unlike those rows, the first.

    Args:
        losses: a loss store, or a path of one; of a `Fit` the array (curves, checkpoints). None: curves alone.
        fits: its fit store, likewise, or a `Fit`.
        tokens: rows of the store, in the order in which they are drawn, at most `MOST_PANELS`.
        family: needed only for a store of a family of your own.
        time: (checkpoints,) axis values, needed only for a `Fit`.
        axis: what to call them.

    Raises:
        StoreError: the store's family is unknown and ``family`` was not given, or losses of other fits.
        ValueError: there is no such token, there are too many, or losses of another shape.
    """
    source = fits_source(fits, time, axis)
    family = family or family_of(source)
    used = np.setdiff1d(np.arange(source.num_checkpoints), source.left_out_checkpoints)
    times = source.axis()[used]
    curve_axis = (np.geomspace if source.scale == "log" else np.linspace)(times[0], times[-1], _CURVE_POINTS)
    measured = None if losses is None else losses_source(losses, source)
    if source.num_tokens == 0:
        raise ValueError(f"fits: {source.name} has no tokens, expected at least one; fit losses that are not empty")
    if tokens is None and source.num_tokens <= FEW_TOKENS:
        tokens = range(source.num_tokens)
    labels, grid = _chosen(source, family) if tokens is None else _in_rows(tokens, source.num_tokens)
    if not grid:  # no curve is the fit of any of them
        labels, grid = _in_rows(range(min(MOST_COLUMNS, source.num_tokens)), source.num_tokens)
    panels = tuple(
        tuple(None if t is None else _panel(measured, source, family, t, used, curve_axis) for t in row) for row in grid
    )
    return TokenGrid(times, curve_axis, source.axis_name, source.scale, family.event, labels, panels)


#: Rows of tokens of the grid; None where there is no such token.
_Rows = list[list[int | None]]


def _in_rows(tokens: Sequence[int], number: int) -> tuple[tuple[str, ...], _Rows]:
    try:
        rows = [operator.index(token) for token in tokens]
    except TypeError as error:
        raise TypeError(f"tokens: got {tokens!r}, expected rows of the store, whole numbers such as [0, 17]") from error
    if not 0 < len(rows) <= MOST_PANELS:
        raise ValueError(f"tokens: got {len(rows)} tokens, expected 1 to {MOST_PANELS}")
    for token in rows:
        if not 0 <= token < number:
            raise ValueError(f"tokens: got {token}, expected numbers from 0 to {number - 1}")
    grid: _Rows = [list(rows[first : first + MOST_COLUMNS]) for first in range(0, len(rows), MOST_COLUMNS)]
    return ("",) * len(grid), grid


def _chosen(fits: FitStore | MemoryFits, family: Family) -> tuple[tuple[str, ...], _Rows]:
    first = slice(0, min(MOST_TOKENS, fits.num_tokens))
    stored, codes = fits.read(first), read_domains(fits, first)
    domains = domains_of(fits)[:MOST_COLUMNS]
    labels, grid = [], []
    for row in rows_of(family, domains):
        members = members_of(stored, row)
        tokens = [
            choose(members & domain.rows(codes, len(stored.r2)), stored.r2, quantile)
            for domain, quantile in columns_of(domains, row.quantile)
        ]
        if any(token is not None for token in tokens):
            labels.append(row.label)
            grid.append([None if token in tokens[:at] else token for at, token in enumerate(tokens)])
    return tuple(labels), grid


def _panel(
    losses: LossStore | MemoryLosses | None,
    fits: FitStore | MemoryFits,
    family: Family,
    token: int,
    used: np.ndarray,
    curve_axis: np.ndarray,
) -> TokenPanel:
    one = slice(token, token + 1)
    stored = fits.read(one)
    labels: dict[str, int | str] = {}
    for name in ("domain", "token_id", "position"):
        if name in fits.token_coordinates and np.isfinite(code := fits.read_coordinate(name, one)[0]):
            labels[name] = int(code)  # NaN: not known of this token
    for domain in domains_of(fits):
        if domain.code == labels.get("domain"):
            labels["domain"] = domain.name
    event, stderr = np.nan, np.nan
    if family.event and stored.category[0] in (Category.LEARNED, Category.EARLY, Category.LATE):
        event = float(stored.params[family.event][0])
        stderr = float(stored.stderr[family.event][0])
    counts = bool(curve_counts(stored.status, stored.category)[0])
    measured = np.full(len(used), np.nan) if losses is None else losses.read(one)[0, used].astype(np.float64)
    return TokenPanel(
        token=token,
        labels=labels,
        losses=measured,
        fitted=predict_store(fits, curve_axis, one, family=family)[0],
        category=Category(stored.category[0]).name,
        event=event,
        event_stderr=stderr,
        constant=not counts,
        r2=float(stored.r2[0]) if counts else 0.0 if np.isfinite(stored.constant[0]) else np.nan,
    )
