"""What XLA makes of a fit for an H100, found by compiling for one without having one.

``python -m benchmarks gpu_program [--kernel native] [--checkpoints 64] [--curves 1048576]`` prints how long compiling
takes, the temporary memory, and for each loop of the program how many kernels a turn launches and how many bytes they
read and write. Needs JAX with its plugin for CUDA (``tsl_jax[cuda]``); of JAX it uses parts that are not public.
"""

import argparse
import os
import re
import time
from typing import Any, Literal, NamedTuple

import numpy as np

#: What XLA asks of a GPU that it compiles for; numbers of NVIDIA's data sheet.
H100 = """
platform_name: "CUDA"
runtime_version { major: 13 }
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3" device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84942979072
  device_address_bits: 64 pcie_bandwidth: 34359738368 ecc_enabled: true
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" dnn_version: "9.10.0"
}
"""

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_NO_KERNEL = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "while", "conditional", "call"}
_SLICES = {"slice", "dynamic-slice", "gather"}


class Instruction(NamedTuple):
    """One line of a program's text."""

    name: str
    type: str
    op: str
    operands: list[str]
    attributes: str


class Loop(NamedTuple):
    """What one turn of a loop (or the program, or a branch) does itself, without loops in it."""

    label: str
    depth: int
    kernels: int
    read: int  #: bytes
    written: int


def main(argv: list[str] | None = None) -> None:
    """Compile, and print what came."""
    options = _arguments(argv)
    text, seconds, temporary = compiled(options.kernel, options.curves, options.checkpoints)
    print(f"{options.curves:,} curves, {options.checkpoints} checkpoints, kernel {options.kernel}")
    print(f"compiled in {seconds:.1f} s; temporary memory {temporary / 2**20:,.0f} MiB\n")
    print(f"{'a turn of':44} kernels  MB read  MB written")
    for loop in loops(text):
        name = "  " * loop.depth + loop.label
        print(f"{name:44} {loop.kernels:7} {loop.read / 1e6:8.1f} {loop.written / 1e6:11.1f}")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", choices=("xla", "native"), default="xla")
    parser.add_argument("--curves", type=int, default=1 << 20)
    parser.add_argument("--checkpoints", type=int, default=64)
    return parser.parse_args(argv)


def compiled(kernel: Literal["xla", "native"], curves: int, checkpoints: int) -> tuple[str, float, int]:
    """Text of the optimised program of `tsl.fit` (sigmoids, float32), seconds of compiling, bytes of temporaries."""
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0 " + os.environ.get("XLA_FLAGS", "")  # that needs the device
    import jax
    import jax.numpy as jnp
    from jax._src import xla_bridge
    from jax.experimental import topologies

    import tsl_jax as tsl
    from tsl_jax.fitting.native import building, loading

    topology = topologies.get_topology_desc("h100", "cuda", target_config=H100, topology="1x1x1")
    sharding = jax.sharding.NamedSharding(topologies.make_mesh(topology, (1,), ("d",)), jax.sharding.PartitionSpec())
    known = xla_bridge.canonicalize_platform
    xla_bridge.canonicalize_platform = lambda name: "cuda" if name in ("cuda", "gpu") else known(name)
    jax.default_backend = lambda: "gpu"  # tiles and kernel are chosen for it
    loading._load = lambda backend: loading._register(building.cuda("9.0")._replace(probe=None))
    options, step = tsl.FitOptions(kernel=kernel), jnp.asarray(np.geomspace(10, 1600, checkpoints))
    fit = jax.jit(lambda losses: tsl.fit(tsl.Sigmoid(), step, losses, options=options))
    lowered = fit.lower(jax.ShapeDtypeStruct((curves, checkpoints), np.float32, sharding=sharding))
    begin = time.perf_counter()
    program: Any = lowered.compile()
    return program.as_text(), time.perf_counter() - begin, program.memory_analysis().temp_size_in_bytes


def loops(text: str) -> list[Loop]:
    """The loops of a program, outer ones before what is in them."""
    computations, entry = _parse(text)
    found: list[Loop] = []

    def walk(name: str, label: str, depth: int) -> None:
        inner, kernels, read, written = [], 0, 0, 0
        types = {i.name: i.type for i in computations[name]}
        for instruction in computations[name]:
            inner += _called(instruction)
            if instruction.op in _NO_KERNEL:
                continue
            kernels += 1
            taken, given = _traffic(instruction, types, computations)
            read, written = read + taken, written + given
        found.append(Loop(label, depth, kernels, read, written))
        for called, its_label in inner:
            walk(called, its_label, depth + 1)

    walk(entry, "the program", 0)
    return found


def _parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    computations: dict[str, list[Instruction]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name = head["name"]
            computations[name] = []
            entry = name if head["entry"] else entry
        elif name and (found := _INSTRUCTION.match(line)):
            own, kind, op, rest = found.groups()
            end = _closing(rest)
            computations[name].append(Instruction(own, kind, op, re.findall(r"%([\w.\-]+)", rest[:end]), rest[end:]))
    return computations, entry


def _closing(text: str) -> int:
    """Where the parenthesis ends that was opened before the text."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place
    return len(text)


def _called(instruction: Instruction) -> list[tuple[str, str]]:
    """Computations that an instruction runs as loops or branches, each with a label."""
    if instruction.op == "while":
        body = re.findall(r"body=%?([\w.\-]+)", instruction.attributes)
        turns = re.search(r'known_trip_count":\{"n":"(\d+)"', instruction.attributes)
        return [(body[0], f"loop of {turns[1]} turns" if turns else "loop, as data want")]
    if instruction.op == "conditional":
        listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.attributes)
        names = re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", instruction.attributes)
        return [(name, "branch") for name in names + re.findall(r"%?([\w.\-]+)", listed[1] if listed else "")]
    if instruction.op == "call":
        return [(name, "call") for name in re.findall(r"to_apply=%?([\w.\-]+)", instruction.attributes)]
    return []


def _traffic(instruction: Instruction, types: dict[str, str], computations) -> tuple[int, int]:
    """Bytes that a kernel reads and writes; where it slices, updates, gathers or scatters, of that part alone."""
    fused = re.search(r"calls=%?([\w.\-]+)", instruction.attributes)
    if instruction.op == "fusion" and fused:
        body = computations[fused[1]]
        read = sum(_read_of(i, body) for i in body if i.op == "parameter")
        return read, _written_by(body)
    if instruction.op in _SLICES:
        return _size(instruction.type), _size(instruction.type)
    return sum(_size(types.get(name, "")) for name in instruction.operands), _size(instruction.type)


def _read_of(value: Instruction, body: list[Instruction]) -> int:
    read, whole = 0, _size(value.type)
    for user in body:
        if value.name not in user.operands:
            continue
        if user.op in ("bitcast", "reshape", "get-tuple-element"):
            read += _read_of(user, body)
        elif user.op in _SLICES and user.operands[0] == value.name:
            read += _size(user.type)
        elif user.op not in ("dynamic-update-slice", "scatter") or user.operands[0] != value.name:
            return whole
    return min(read, whole)


def _written_by(body: list[Instruction]) -> int:
    by_name = {i.name: i for i in body}
    root = body[-1]
    outputs = [by_name[name] for name in root.operands] if root.op == "tuple" else [root]
    written = 0
    for output in outputs:
        while output.op in ("bitcast", "transpose") and output.operands[0] in by_name:
            output = by_name[output.operands[0]]
        part = {"dynamic-update-slice": 1, "scatter": -1}.get(output.op)
        written += _size(output.type if part is None else by_name[output.operands[part]].type)
    return written


def _size(kind: str) -> int:
    """Bytes of an array's type, or of a tuple of them."""
    return sum(
        _BYTES[dtype] * int(np.prod([int(n) for n in shape.split(",") if n], dtype=np.int64))
        for dtype, shape in _ARRAY.findall(kind)
    )
