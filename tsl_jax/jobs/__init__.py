"""One job a file or folder: from stores to stores and results."""

import lazy_loader

# Names load when first used: a fit needs nothing of spectra, runs and scores. The stub beside this file lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
