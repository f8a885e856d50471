"""Laws of language-model training, fitted to every token."""

import lazy_loader

from .presentation import present_by

# Names load when first used: `tsl --help` needs no JAX, `tsl.fit` no Zarr. The stub beside this file lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"

# How fits turn into tables and pictures, and who copies losses elsewhere: said here, as neither fits nor stores may
# import them; see `presentation`.
present_by("to_pandas", lambda: _jobs().to_pandas)
present_by("to_xarray", lambda: _jobs().to_xarray)
present_by("to_html", lambda: _jobs().to_html)
present_by("load", lambda: _jobs().load_fit)
present_by("copying", lambda: _copied_by_workers())
present_by("plot", lambda: __getattr__("plots").plot_tokens)


def _copied_by_workers():
    from .stream.copies import copied_by_workers

    return copied_by_workers


def _jobs():
    from . import jobs

    return jobs
