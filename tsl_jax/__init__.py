"""Laws of language-model training, fitted to every token."""

import lazy_loader

# Names load when first used: `tsl --help` needs no JAX, `tsl.fit` no Zarr. The stub beside this file lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
