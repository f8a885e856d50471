"""What is on disk: loss stores, fit stores, and how a job is resumed. NumPy and Zarr only."""

from .curve_files.file import (
    CURVE_FILES,
    LossCurveError,
    LossCurveFile,
    LossCurveRows,
    LossCurveWarning,
    read_columns,
    read_loss_curve,
)
from .damage import damaged_blocks
from .errors import (
    BadChunk,
    ChangedError,
    ChunkError,
    InvalidStoreError,
    LockedError,
    StoreError,
    StoreNotFoundError,
    Violation,
    WriteError,
)
from .fingerprint import block_digest
from .fit_creation import finished_fits, join_fits, refuse_foreign, resume_or_create
from .fit_header import FitHeader, Layout, recorded_noise
from .fits import FitStore, StoredFit, open_fits
from .importing import import_losses
from .inspection import validate
from .lease import LEASE_SECONDS
from .ledger import BlockState, InputDigest, Ledger
from .location import Location, StoreLike, locate
from .lock import writer_lock
from .loss_creation import create_losses
from .losses import LossStore, open_losses
from .presence import list_objects
from .reading import read_rows, read_rows_with_gaps
from .rechunking import rechunk
from .schema import (
    FIT_FORMAT_VERSION,
    FORMAT_VERSION,
    NO_PROBABILITY,
    PROBABILITY_ARRAYS,
    PROBABILITY_STEPS,
    decode_probability,
    encode_probability,
)
from .token_copies import copy_tokens
from .unfinished import LossPlan, UnfinishedLosses, begin_losses
from .writing import FitWriter

__all__ = [
    "CURVE_FILES",
    "FIT_FORMAT_VERSION",
    "FORMAT_VERSION",
    "LEASE_SECONDS",
    "NO_PROBABILITY",
    "PROBABILITY_ARRAYS",
    "PROBABILITY_STEPS",
    "BadChunk",
    "BlockState",
    "ChangedError",
    "ChunkError",
    "FitHeader",
    "FitStore",
    "FitWriter",
    "InputDigest",
    "InvalidStoreError",
    "Layout",
    "Ledger",
    "Location",
    "LockedError",
    "LossCurveError",
    "LossCurveFile",
    "LossCurveRows",
    "LossCurveWarning",
    "LossPlan",
    "LossStore",
    "StoreError",
    "StoreLike",
    "StoreNotFoundError",
    "StoredFit",
    "UnfinishedLosses",
    "Violation",
    "WriteError",
    "begin_losses",
    "block_digest",
    "copy_tokens",
    "create_losses",
    "damaged_blocks",
    "decode_probability",
    "encode_probability",
    "finished_fits",
    "import_losses",
    "join_fits",
    "list_objects",
    "locate",
    "open_fits",
    "open_losses",
    "read_columns",
    "read_loss_curve",
    "read_rows",
    "read_rows_with_gaps",
    "rechunk",
    "recorded_noise",
    "refuse_foreign",
    "resume_or_create",
    "validate",
    "writer_lock",
]
