"""Which tokens are worth a look: for every kind of token and every domain one, by a rule."""

import dataclasses

import numpy as np

from ..curves import Family
from ..fitting import Category
from ..jobs.domains import ALL_TOKENS, Domain
from ..store import StoredFit

#: Tokens are chosen among the first of a store, so that a store of any size costs a second.
MOST_TOKENS = 2**17
MOST_COLUMNS = 5


@dataclasses.dataclass(frozen=True)
class Row:
    """Tokens of one row of the grid: a category, the sign of the drop, and which of them by R²."""

    label: str
    category: Category
    rising: bool
    quantile: float


#: Row by row: of all such tokens the one at this quantile of R².
ROWS = (
    Row("LEARNED\nclear: R² at its\n90th percentile", Category.LEARNED, False, 0.9),
    Row("LEARNED\ntypical: R² at\nits median", Category.LEARNED, False, 0.5),
    Row("LEARNED\nloss rises,\nmedian R²", Category.LEARNED, True, 0.5),
    Row("EARLY\nmedian R²", Category.EARLY, False, 0.5),
    Row("LATE\nmedian R²", Category.LATE, False, 0.5),
    Row("UNLEARNED\nmedian R² of\nrejected curves", Category.UNLEARNED, False, 0.5),
)
_ONE_KIND = (Row("All fits\nmedian R²", Category.NONE, False, 0.5),)
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


def rows_of(family: Family, domains: list[Domain]) -> list[Row]:
    """Rows of the grid; without domains the columns are quantiles of R², so a row a kind is enough."""
    rows = ROWS if family.event else _ONE_KIND
    if domains:
        return list(rows)
    return [dataclasses.replace(row, label=_every_quantile(row)) for row in rows if row.quantile == 0.5]


def _every_quantile(row: Row) -> str:
    rejected = ["(rejected curve)"] * (row.category == Category.UNLEARNED)
    words = [*["loss rises,"] * row.rising, "R² from 10th to", "90th percentile", *rejected]
    return "\n".join([row.label.split("\n")[0], *words])


def columns_of(domains: list[Domain], quantile: float) -> list[tuple[Domain, float]]:
    """Domain and quantile of R² of each column of a row."""
    if domains:
        return [(domain, quantile) for domain in domains]
    return [(Domain(None, ALL_TOKENS), each) for each in _QUANTILES]


def members_of(stored: StoredFit, row: Row) -> np.ndarray:
    """Which tokens are of a row's kind, (tokens,) booleans."""
    members = (stored.category == row.category) & np.isfinite(stored.r2)
    if row.category == Category.LEARNED and "loss_drop" in stored.params:
        members &= (stored.params["loss_drop"] < 0) == row.rising
    return members


def choose(members: np.ndarray, r2: np.ndarray, quantile: float) -> int | None:
    """The member whose R² is at a quantile of the members' R²; the first of equals; None without members."""
    tokens = np.flatnonzero(members)
    if not len(tokens):
        return None
    order = tokens[np.argsort(r2[tokens], kind="stable")]
    return int(order[round(quantile * (len(order) - 1))])
