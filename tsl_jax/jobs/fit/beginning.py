"""A fit whose output is not there yet: its first blocks are read, and the first of them fitted, while it is made."""

from ...fitting import NoiseModel
from ...store import LossStore
from ...store.presence import Objects
from ...stream.ahead import READERS
from ...stream.begun import Begun
from ...stream.plan import blocks_of
from ...stream.reading import BlockReader
from .fitter import BlockFitter
from .plan import FitPlan, fit_layout
from .request import FitRequest


class BegunFit(Begun):
    """The first blocks of new fits, read from now on.

    Args:
        source: the losses.
        fitter: what fits.
        request: what is asked for.
        objects: the listing of the losses' store.

    Attributes:
        compile_seconds: for compiling, as far as it was done here.
    """

    def __init__(self, source: LossStore, fitter: BlockFitter, request: FitRequest, objects: Objects | None) -> None:
        self._fitter, self._num_tokens, self.compile_seconds = fitter, source.num_tokens, 0.0
        layout = fit_layout(source, request.family, fitter, request.memory)
        fitter.pad_to(layout.block_tokens, source.num_tokens)
        read = BlockReader(source, fitter.put, request.on_bad_chunk, objects, fitter.room)
        super().__init__(read, blocks_of(source.num_tokens, layout.block_tokens)[:READERS])

    def fit_first(self, plan: FitPlan) -> None:
        """Compile, and fit the first block as soon as it is read; does not wait for that."""
        noise = None if plan.header.noise is None else NoiseModel.from_dict(dict(plan.header.noise))
        # Here, where a user's switches of JAX hold, and not in another thread, where they do not.
        self.compile_seconds = self._fitter.compile(plan.layout.block_tokens, self._num_tokens, noise)
        self.compute(self._fitter)
