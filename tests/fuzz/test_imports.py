"""Files of losses that are damaged at random are imported, or refused in a sentence of the package."""

import pytest
import zarr

from tests.store import test_import as ways
from tsl_jax.store import StoreError, import_losses

pytestmark = pytest.mark.fuzz

NAMES = (
    *("npy", "npz", "npz_compressed", "folder_of_npz", "folders", "zarr_array", "zarr_arrays", "zarr_groups"),
    *("wide_csv", "wide_parquet", "long_csv", "long_parquet"),
)


def damaged(content, choice):
    """What a disk, a network or a person may make of a file."""
    content, at = bytearray(content), choice.randrange(max(1, len(content)))
    how = choice.choice(("flip", "cut", "empty", "insert", "zero"))
    if how == "flip":
        for place in (choice.randrange(len(content)) for _ in range(choice.choice((1, 3, 20)))):
            content[place] ^= 1 << choice.randrange(8)
    elif how == "insert":
        content[at:at] = choice.randbytes(choice.choice((1, 10)))
    elif how == "zero":
        content[at : at + 8] = bytes(8)
    else:
        del content[at if how == "cut" else 0 :]
    return bytes(content)


@pytest.mark.filterwarnings("ignore:.*zarr v3.*")
def test_damaged_files_end_in_a_sentence(choice, cases, tmp_path):
    refused = 0
    for number in range(2 * cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = choice.choice(NAMES)
        source, options = getattr(ways, name)(folder)
        path = choice.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))
        path.write_bytes(damaged(path.read_bytes(), choice))
        try:
            import_losses(source, zarr.storage.MemoryStore(), **options)
        except StoreError:
            refused += 1
    assert refused > cases // 2
