"""Ways to damage a store's files and its metadata, at random."""

import json
import shutil

#: Values that no metadata document should have where it has another.
ODD = (
    0,
    -1,
    1,
    7,
    10**15,
    2**63,
    0.5,
    "a",
    "",
    "\x1b[31m",
    None,
    True,
    [],
    {},
    [0],
    ["token"],
    "big",
    "NaN",
    "float64",
)
HOW = ("flip", "byte", "cut", "empty", "gone", "zeros", "swap", "link to itself")


def files_of(place):
    """Every file of a store, locks apart, by name."""
    files = [file for file in sorted(place.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    return {str(file.relative_to(place)): file for file in files}


def copied(place, target):
    """A fresh copy of a store."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(place, target)
    return target


def damage_a_file(place, choice, wanted=lambda name: True):
    """Damage one file; returns what was done, for the message of a failure."""
    files = files_of(place)
    name = choice.choice([name for name in files if wanted(name)])
    file, how = files[name], choice.choice(HOW)
    data = bytearray(file.read_bytes())
    at = choice.randrange(max(1, len(data)))
    if how == "gone":
        file.unlink()
        return name, how
    if how == "link to itself":
        file.unlink()
        file.symlink_to(file.name)
        return name, how
    if how == "swap":  # with another of its array
        other = choice.choice([other for other in files if other.split("/")[0] == name.split("/")[0]])
        data = bytearray(files[other].read_bytes())
        how = f"swap with {other}"
    elif how == "flip":
        data[at] ^= 1 << choice.randrange(8)
    elif how == "byte":
        data[at] = choice.randrange(256)
    else:
        data = {"cut": data[:at], "empty": bytearray(), "zeros": bytearray(len(data))}[how]
    file.write_bytes(bytes(data))
    return name, how, at


def damage_a_document(place, choice):
    """Change, remove or rename one entry of one metadata document; returns what was done."""
    names = [name for name in files_of(place) if name.endswith("zarr.json")]
    name = choice.choice(names)
    document = json.loads((place / name).read_text())
    spot, path = document, []
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        key = choice.choice(keys)
        path.append(key)
        inner = spot[key]
        if not isinstance(inner, dict | list) or not inner or choice.random() < 0.2:
            break
        spot = inner
    how = choice.choice(("odd", "odd", "gone", "renamed"))
    if how == "odd" or isinstance(spot, list):
        how = spot[key] = choice.choice(ODD)
    else:
        value = spot.pop(key)
        if how == "renamed":
            spot[f"{key}x"] = value
    (place / name).write_text(json.dumps(document))
    return name, path, how
