"""What fits can be turned into, and losses be copied by: each by a package that theirs may not import.

`tsl_jax.fitting` is pure functions over arrays, `tsl_jax.store` knows no JAX; neither may import pandas, xarray or
Matplotlib, or a package above it. Yet ``fit.plot()`` must find who draws, and ``import_losses(client=...)`` who talks
to workers. The package's top level may import anything, and Python runs it before any module of the package: there
`present_by` says who does what, and nothing is imported before somebody asks. So imports still point one way, `Fit`
stays arrays and functions of them, and an import without workers waits for no JAX.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import xarray

_FINDERS: dict[str, Callable[[], Callable[..., Any]]] = {}


def present_by(what: str, find: Callable[[], Callable[..., Any]]) -> None:
    """Say how fits are turned into something.

    Args:
        what: such as ``"plot"``.
        find: returns the function that does it; called when it is first needed.
    """
    _FINDERS[what] = find


def presented(what: str, *arguments: Any, **options: Any) -> Any:
    """Fits turned into something, by whom `present_by` names."""
    return _FINDERS[what]()(*arguments, **options)


class Presented:
    """Fits, in memory or in a store, that can be shown and handed on."""

    def to_pandas(self) -> "pandas.DataFrame":
        """All results as a table, a row a curve; see `tsl_jax.jobs.to_pandas`."""
        return presented("to_pandas", self)

    def to_xarray(self) -> "xarray.Dataset":
        """All results as a data set, with units and the meaning of codes; see `tsl_jax.jobs.to_xarray`."""
        return presented("to_xarray", self)

    def _repr_html_(self) -> str:
        return presented("to_html", self)
