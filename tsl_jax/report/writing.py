"""One HTML page for the fits of a run."""

import os
from collections.abc import Callable

from ..jobs.token_sample import SampledTokens
from ..store import FitStore, LossStore, StoreError, StoreLike, open_fits, open_losses
from ..store.user_files import write_file
from ..terminal_text import printable
from .figures import plotly_objects
from .findings import Findings, find
from .rendering import render_page
from .sections.comparison import comparison_section
from .sections.fit import fit_section
from .sections.forecast import forecast_section
from .sections.learning_times import learning_times_section
from .sections.mean_loss import mean_loss_section
from .sections.positions import positions_section
from .sections.spectrum import spectrum_section
from .tokens import token_table
from .words import count

_SECTIONS = (
    fit_section,
    mean_loss_section,
    learning_times_section,
    spectrum_section,
    positions_section,
    forecast_section,
    comparison_section,
)


def write_report(
    fits: StoreLike | FitStore,
    path: str | os.PathLike[str],
    *,
    losses: StoreLike | LossStore | None = None,
    compare: StoreLike | FitStore | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Findings:
    """Write one HTML file that shows a run: what was fitted and how well, and what follows from it.

    The file needs no other file and no network. Numbers are those that `tsl info`, `tsl spectrum`, `tsl positions`,
    `tsl forecast --until LAST --fraction 0.5` and `tsl compare` print; what cannot be had is a sentence that says why.
    Stores of any size are read in bounded memory; the table holds a sample of up to 1,024 tokens.

    Args:
        fits: an open fit store, or whatever opens as one.
        path: of the file; folders that are absent are made.
        losses: the losses that were fitted, likewise: for the mean loss, positions and the forecast.
        compare: fits of the same tokens in another run, likewise.
        progress: called with the name of each part before it begins.

    Returns:
        `Findings`: the results that the page shows.

    Raises:
        StoreError: no fit store, or losses of another shape.
        ReportDependencyError: Plotly or Jinja is not installed.
        WriteError: the file could not be written.

    Example:
        >>> import pathlib, tempfile, numpy as np, zarr, tsl_jax as tsl
        >>> step = np.geomspace(10, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.geomspace(50, 2000, 40)[:, None]) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = write_report(target, pathlib.Path(folder, "run.html"))
        ...     pathlib.Path(folder, "run.html").read_text()[:15]
        '<!doctype html>'
        >>> found.times.groups[0].categories["LEARNED"]
        40
    """
    plotly_objects()
    fits = fits if isinstance(fits, FitStore) else open_fits(fits)
    if losses is not None and not isinstance(losses, LossStore):
        losses = open_losses(losses)
    if compare is not None and not isinstance(compare, FitStore):
        compare = open_fits(compare)
    if losses is not None and losses.losses.shape != (fits.num_tokens, fits.num_checkpoints):
        raise StoreError(
            f"losses: {losses.name} has shape {losses.losses.shape}, the fits {fits.name} were made from "
            f"{(fits.num_tokens, fits.num_checkpoints)}; give the losses that were fitted"
        )
    found = find(fits, losses, compare, progress)
    progress("page")
    page = page_of(found)
    write_file(path, "the report", lambda file: file.write(page.encode("utf-8", "backslashreplace")))
    return found


def page_of(found: Findings) -> str:
    """The page of all findings, as HTML."""
    fits = found.fits
    titles = [store.attributes.get("title") for store in (fits, found.losses) if store is not None]
    name = fits.name.rstrip("/").rpartition("/")[2]
    title = printable(str(next(filter(None, titles), name or "Fits")))
    subtitle = f"{count(fits.num_tokens)} tokens, {fits.family} over {fits.axis_name} ({fits.scale} scale)"
    tokens = token_table(fits, found.tokens) | {"words": _token_words(found)}
    return render_page(title, subtitle, [section(found) for section in _SECTIONS], tokens)


def _token_words(found: Findings) -> str:
    if not isinstance(found.tokens, SampledTokens):
        return found.tokens.reason
    shown, all_tokens = len(found.tokens.token), found.tokens.tokens
    if found.tokens.whole:
        return f"All {count(all_tokens)} tokens."
    return f"A sample: {count(shown)} of {count(all_tokens)} tokens, from places spread evenly over the store."
