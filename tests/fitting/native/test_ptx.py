"""The translation of PTX: single instructions, and whole kernels against the same source as host code, bit for bit."""

import ctypes
import math
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.emulated_gpu import ptx
from tests.needed import missing
from tsl_jax.fitting.native import building

HEADER = ".version 9.0\n.target sm_90\n.address_size 64\n"


def load(text: str, folder: Path) -> ctypes.CDLL:
    """PTX as a library, which is built in a folder."""
    (folder / "ptx.cc").write_text(ptx.translate(text))
    subprocess.run(["g++", *ptx.FLAGS, "ptx.cc", "-o", "ptx.so"], check=True, cwd=folder)
    return ctypes.CDLL(str(folder / "ptx.so"))


def run(kernel, grid: int, block: int, *args) -> None:
    """Runs a kernel with arguments of ctypes."""
    kernel(grid, block, (ctypes.c_void_p * len(args))(*map(ctypes.addressof, args)))


def f(x: float) -> int:
    """The bits of a float."""
    return struct.unpack("I", struct.pack("f", x))[0]


def d(x: float) -> int:
    """The bits of a double."""
    return struct.unpack("Q", struct.pack("d", x))[0]


# A float's one NaN, the least and greatest below the normal ones; -1 and the least integers, of 32 and 64 bits
NAN, TINY, BELOW, M, M64, LEAST, LEAST64 = 0x7FFFFFFF, 1, 0x007FFFFF, 2**32 - 1, 2**64 - 1, 1 << 31, 1 << 63
# Whether 1 compares so with 2, 1 and NaN
ORDERED = {"eq": "010", "ne": "100", "lt": "100", "le": "110", "gt": "000", "ge": "010", "num": "110", "nan": "001"}
ORDERED |= {"equ": "011", "neu": "101", "ltu": "101", "leu": "111", "gtu": "001", "geu": "011"}
# An instruction on registers 1, 2, 3 that hold bits, and the bits that it must give in register 0
CASES = [
    ("add.s16 %rs0, %rs1, %rs2", (0x7FFF, 1), 0x8000), ("sub.s64 %rd0, %rd1, %rd2", (0, 1), M64),
    ("mul.lo.s16 %rs0, %rs1, %rs2", (0xFFFF, 0xFFFF), 1), ("mul.wide.u32 %rd0, %r1, %r2", (M, M), M * M),
    ("mul.wide.s32 %rd0, %r1, %r2", (M, 3), 2**64 - 3), ("mad.lo.s32 %r0, %r1, %r2, %r3", (M, 3, 1), M - 1),
    ("div.s32 %r0, %r1, %r2", (LEAST, M), LEAST), ("rem.s32 %r0, %r1, %r2", (LEAST, M), 0),
    ("neg.s32 %r0, %r1", (LEAST,), LEAST), ("min.s32 %r0, %r1, %r2", (M, 1), M), ("not.pred %p0, %p1", (0,), 1),
    ("max.u64 %rd0, %rd1, %rd2", (M64, 1), M64), ("and.b16 %rs0, %rs1, 0xFF0", (0xABCD,), 0xBC0),
    ("xor.b64 %rd0, %rd1, -1", (5,), M64 - 5), ("or.pred %p0, %p1, %p2", (0, 1), 1),
    ("shl.b32 %r0, %r1, %r2", (3, 32), 0), ("shl.b16 %rs0, %rs1, %r2", (0xFFFF, 4), 0xFFF0),
    ("shl.b64 %rd0, %rd1, %r2", (3, M), 0), ("shr.s32 %r0, %r1, %r2", (LEAST, 99), M),
    ("shr.s16 %rs0, %rs1, %r2", (0x8000, 3), 0xF000), ("shr.u32 %r0, %r1, %r2", (LEAST, 32), 0),
    ("add.f32 %f0, %f1, %f2", (f(math.inf), f(-math.inf)), NAN), ("add.rn.ftz.f32 %f0, %f1, %f2", (TINY, BELOW), 0),
    ("sub.f64 %fd0, %fd1, 0d3FF0000000000000", (d(1 + 2**-52),), d(2**-52)), ("neg.f32 %f0, %f1", (0,), LEAST),
    ("mul.f32 %f0, %f1, %f2", (0x80400000, f(2)), 0x80800000), ("mul.ftz.f32 %f0, %f1, %f2", (0x80400000, f(2)), LEAST),
    ("fma.rn.f32 %f0, %f1, %f2, %f3", (f(1 + 2**-12), f(1 + 2**-12), f(-1 - 2**-11)), f(2**-24)),
    ("abs.ftz.f32 %f0, %f1", (LEAST | TINY,), 0),
    *((f"{op}.f32 %f0, %f1, %f2", (NAN, f(3)), f(3)) for op in ("min", "max")),
    ("min.f32 %f0, %f1, %f2", (0xFFC00001, NAN), NAN), ("min.f32 %f0, %f1, %f2", (0, LEAST), LEAST),
    ("max.f32 %f0, %f1, %f2", (LEAST, 0), 0), ("div.rn.f32 %f0, %f1, %f2", (f(1), f(3)), 0x3EAAAAAB),
    ("div.full.f32 %f0, %f1, %f2", (f(9), 0), f(math.inf)), ("sqrt.rn.f32 %f0, %f1", (f(-1),), NAN),
    ("rcp.approx.ftz.f32 %f0, %f1", (TINY,), f(math.inf)), ("ex2.approx.ftz.f32 %f0, %f1", (f(-3),), f(0.125)),
    ("ex2.approx.ftz.f32 %f0, %f1", (f(-127),), 0), ("ex2.approx.f32 %f0, %f1", (f(-127),), 0x00400000),
    ("setp.lt.s32 %p0, %r1, %r2", (M, 0), 1), ("setp.hi.u32 %p0, %r1, %r2", (M, 0), 1),
    ("setp.lt.and.s32 %p0, %r1, %r2, !%p3", (M, 0, 0), 1), ("setp.eq.xor.s64 %p0, %rd1, %rd2, %p3", (5, 5, 5), 0),
    *(
        (f"setp.{how}.f32 %p0, %f1, %f2", (f(1), other), int(holds))
        for how, row in ORDERED.items()
        for other, holds in zip((f(2), f(1), NAN), row, strict=True)
    ),
    ("setp.neu.f64 %p0, %fd1, %fd1", (d(math.nan),), 1), ("setp.eq.ftz.f32 %p0, %f1, %f2", (TINY, LEAST), 1),
    ("selp.f32 %f0, %f1, %f2, %p3", (0x7F812345, 2, 1), 0x7F812345), ("selp.b16 %rs0, -1, 1, %p1", (1,), 0xFFFF),
    ("cvt.s64.s32 %rd0, %r1", (M,), M64), ("cvt.u32.u64 %r0, %rd1", (M64 - 6,), M - 6),
    ("cvt.s32.s8 %r0, %r1", (0x180,), 0xFFFFFF80), ("cvt.u16.u8 %rs0, %rs1", (0x180,), 0x80),
    ("cvt.rn.f32.s32 %f0, %r1", (2**24 + 1,), f(2**24)), ("cvt.rni.s32.f32 %r0, %f1", (f(2.5),), 2),
    ("cvt.rni.s64.f64 %rd0, %fd1", (d(-3.5),), M64 - 3), ("cvt.rzi.s32.f32 %r0, %f1", (f(-3.9),), M - 2),
    ("cvt.rzi.s32.f32 %r0, %f1", (f(1e20),), LEAST - 1), ("cvt.rzi.s32.f32 %r0, %f1", (NAN,), 0),
    ("cvt.rzi.u32.f32 %r0, %f1", (f(-3),), 0), ("cvt.rzi.s64.f32 %rd0, %f1", (NAN,), LEAST64),
    ("cvt.rzi.u64.f64 %rd0, %fd1", (d(2**63),), LEAST64), ("cvt.ftz.f64.f32 %fd0, %f1", (TINY,), 0),
    ("cvt.rn.f32.f64 %f0, %fd1", (d(1 + 2**-24),), f(1)), ("cvt.rn.f32.f64 %f0, %fd1", (d(math.nan),), NAN),
    ("mov.f32 %f0, %f1", (0xFF800001,), 0xFF800001), ("mov.b64 {%r0, _}, %rd1", (2**32 * 5 + 7,), 7),
    ("mov.u32 %r0, %ntid.x", (), 1), ("mov.b64 {_, %r0}, %rd1", (2**32 * 5 + 7,), 5),
    ("mov.b64 %rd0, {%r1, %r2}", (7, M), 2**32 * M + 7), ("@!%p1 mov.u32 %r0, %r2", (0, 4), 4),
    ("ld.param.s8 %r0, [in1+1]", (0x8000,), 0xFFFFFF80), ("ld.param.v2.u32 {_, %r0}, [in1]", (2**32 * 5 + 7,), 5),
]  # fmt: skip


REGISTERS = {"rs": "b16", "r": "b32", "f": "f32", "rd": "b64", "fd": "f64"}


def kernel_of(n: int, instruction: str) -> str:
    """PTX that runs an instruction on registers that hold parameters, and stores register 0."""
    bank = re.findall(r"%([a-z]+)0", instruction)[0]
    lines = [f".visible .entry case_{n}(", *(f".param .u64 in{i}," for i in range(4)), ")", "{", ".reg .pred %p<4>;"]
    lines += [f".reg .{kind} %{name}<5>;" for name, kind in REGISTERS.items()]
    for i in range(1, 4):
        lines += [f"ld.param.{kind} %{name}{i}, [in{i}];" for name, kind in REGISTERS.items()]
        lines += [f"setp.ne.s32 %p{i}, %r{i}, 0;"]
    lines += [f"{instruction};", "selp.b32 %r0, 1, 0, %p0;" if bank == "p" else "", "ld.param.u64 %rd4, [in0];"]
    name = "r" if bank == "p" else bank
    return "\n".join([*lines, f"st.global.{REGISTERS[name]} [%rd4], %{name}0;", "ret;", "}", ""])


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> ctypes.CDLL:
    """A library with a kernel for each of CASES."""
    text = HEADER + "".join(kernel_of(i, instruction) for i, (instruction, _, _) in enumerate(CASES))
    return load(text, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda i: f"{CASES[i][0]} {CASES[i][1]}")
def test_instruction(cases, index):
    _, inputs, expected = CASES[index]
    found = ctypes.c_uint64()
    to = ctypes.c_void_p(ctypes.addressof(found))
    run(cases[f"case_{index}"], 1, 1, to, *map(ctypes.c_uint64, (*inputs, 0, 0, 0)[:3]))
    assert hex(found.value) == hex(expected)


@pytest.mark.parametrize(
    "line",
    [
        "bar.sync 0;", "shfl.sync.idx.b32 %r1, %r1, 0, 31, -1;", "ld.shared.u32 %r1, [%rd1];",
        "atom.shared.add.u32 %r1, [%rd1], 1;", "atom.global.add.f32 %r1, [%rd1], 1;", "add.cc.u32 %r1, %r1, %r1;",
        ".shared .align 4 .b8 x[16];", "mov.u32 %r1, %smid;", "mul24.lo.u32 %r1, %r1, 1;", "add.s32 %r1, %r1;",
        "add.rz.f32 %r1, %r1, %r1;", "cvt.s32.f32 %r1, %r1;", "setp.nan.s32 %p1, %r1, %r1;", "add.s32 %r9, %r1, %r1;",
        "ld.global.v2.f32 {%r1}, [%rd1];", "call.uni vprintf;", "trap;", ".loc 1 2 3", "{", "add.s32 %r1, %r1, 1",
        ".global .f32 y;", ".func f()",
    ],
)  # fmt: skip
def test_unknown_statement(line):
    head = f"{HEADER}.visible .entry k(\n.param .u32 x\n)\n{{\n.reg .b32 %r<2>;\n.reg .b64 %rd<2>;\n.reg .pred %p<2>;\n"
    with pytest.raises(ptx.PtxError, match=f"^line 11: .*{re.escape(line)}"):
        ptx.translate(f"{head}{line}\nret;\n}}\n")


@pytest.mark.parametrize(
    ("line", "offset"),
    [
        ("ld.global.nc.u16 %rs0, [%rd1]", 1), ("ld.u32 %r0, [%rd1+6]", 0), ("ld.global.v2.f32 {%f0, _}, [%rd1]", 4),
        ("ld.global.v4.u32 {%r0, _, _, _}, [%rd1+-8]", 0), ("st.global.v2.b64 [%rd1], {%rd0, %rd0}", 8),
        ("atom.global.add.u64 %rd0, [%rd1], 1", 4),
    ],
)  # fmt: skip
def test_misaligned(tmp_path, line, offset):
    text = HEADER + kernel_of(0, line)
    load(text, tmp_path)
    code = f"""from ctypes import *
values = [c_uint64(4096 + offset) for offset in (0, {offset}, 0, 0)]
CDLL("./ptx.so").case_0(1, 1, (c_void_p * 4)(*map(addressof, values)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    number = text.splitlines().index(f"{line};") + 1
    assert done.returncode == -signal.SIGABRT
    assert re.match(rf"PTX line {number}: {line.split()[0]} at 0x\w+, which is not a multiple of \d+$", done.stderr)


SOURCE = r"""
#ifdef __CUDACC__
#define SHARED __device__ static
#define KERNEL(name) __global__ void name(Given given) { one_##name(given, blockIdx.x * blockDim.x + threadIdx.x); }
#else
#include <cmath>
#define SHARED static
#define KERNEL(name) void name(unsigned grid, unsigned block, void** args) { \
  for (unsigned i = 0; i < grid * block; i++) one_##name(*(Given*)args[0], i); }
struct alignas(16) float4 { float x, y, z, w; };
static unsigned atomicAdd(unsigned* place, unsigned x) { return (*place += x) - x; }
#endif
struct Given {
  const float *x, *v; const double* z; const int* k;
  float* y; double* w; long long* o; unsigned* next;
  float a[4]; int n;
};

// Jobs from a queue, loops that differ, an array in local memory
SHARED void one_search(const Given& given, int) {
  while (true) {
    const unsigned job = atomicAdd(given.next, 1u);
    if (job >= given.n) break;
    float own[4], at = given.z[job], step = 1;
    for (int k = 0; k < 4; k++) own[(k + job) & 3] = given.a[k] * at;
    int count = 0;
    while (fabsf(at) > 1e-3f && count < 200) {
      const float to = at - step * at * (1 + own[count & 3] * own[count & 3]);
      if (fabsf(to) < fabsf(at)) at = to, step = step * 1.5f; else if (step > 1e-6f) step = step * 0.5f; else break;
      own[++count & 3] += at;
      if (count % 8 == 6) continue;
      own[job & 3] -= given.a[count & 3];
    }
    given.y[job] = at + own[count & 3], given.o[job] = count;
  }
}

SHARED void one_arithmetic(const Given& given, int i) {
  if (i >= given.n) return;
  const float a = given.x[i], b = given.v[i];
  const double c = given.z[i], d = b;
  const int j = given.k[i], s = j & 31;
  const unsigned u = j;
  const long long l = (long long)given.k[given.n - 1 - i] * 1234567 + j;
  const float4 q = ((const float4*)given.x)[i / 4];
  float* y = given.y + 12 * i;
  double* w = given.w + 8 * i;
  long long* o = given.o + 8 * i;
  ((float4*)y)[0] = {q.z + 1, q.w * 0.5f, (float)j, (float)l};
  y[4] = a + b, y[5] = a * a - b, y[6] = a / b, y[7] = sqrtf(a), y[8] = 1 / b, y[9] = fabsf(-b), y[10] = c;
  w[0] = c - d, w[1] = c * c + d, w[2] = c / d, w[3] = sqrt(c), w[4] = -c, w[5] = a, w[6] = j + (int)c + (long long)c;
  o[0] = j / (s + 1) + j % (s + 3), o[1] = u / (s + 1) ^ u % (s + 7), o[2] = l / (s + 5) - l % (j | 1), o[3] = l >> s;
  o[4] = (j >> s) + (u >> s) + (u << s), o[5] = (signed char)j * (unsigned char)(j >> 8) + (short)l;
  o[6] = (j < s ? j : s) - (u > 99 ? u : 99) + ((j ^ s) & ~(l | 77));
  o[7] = (a < b) + 3 * !(a < b) + 9 * (a < b && c > d) + 27 * (a != b || !(c > d)) + 81 * ((a <= b) ^ (c == d));
}

extern "C" { KERNEL(search) KERNEL(arithmetic) }
"""


class Given(ctypes.Structure):
    """What the kernels take."""

    _fields_ = (*((name, ctypes.c_void_p) for name in "xvzkywoc"), ("a", ctypes.c_float * 4), ("n", ctypes.c_int))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> list[ctypes.CDLL]:
    """The kernels through PTX, and as host code."""
    tools, folder = building.cuda("9.0"), tmp_path_factory.mktemp("kernels")
    if not (compiler := building.compiler_of(tools)):
        missing(building.no_compiler(tools))
    (folder / "kernels.cu").write_text(SOURCE)
    to_ptx = (*compiler, "-O3", "-arch=sm_90", "-fmad=false", "-ptx", "-o", "kernels.ptx")
    to_host = ("g++", "-O1", "-ffp-contract=off", "-fwrapv", "-shared", "-fPIC", "-x", "c++", "-o", "host.so")
    for command in (to_ptx, to_host):
        subprocess.run([*command, "-std=c++17", "kernels.cu"], check=True, cwd=folder)
    return [load((folder / "kernels.ptx").read_text(), folder), ctypes.CDLL(str(folder / "host.so"))]


@pytest.mark.parametrize("name", ["search", "arithmetic"])
def test_kernel(libraries, name):
    special = (0, -0.0, 1, -1, 1e-45, -1e-40, 1.2e-38, 3.4e38, -3.4e38, math.inf, -math.inf, math.nan, 0.5, 2.5, 3, -7)
    x, v = (np.array(part, np.float32).reshape(-1) for part in np.meshgrid(special, special))
    n, rng = x.size, np.random.default_rng(0)
    z = rng.normal(size=n) * 10.0 ** rng.integers(-4, 6, n)
    k = rng.integers(-(2**31), 2**31, n).astype(np.int32) >> rng.integers(0, 31, n).astype(np.int32)
    found = []
    for library in libraries:
        results = [np.zeros(12 * n, dtype) for dtype in (np.float32, np.float64, np.int64, np.uint32)]
        places = [array.ctypes.data for array in (x, v, z, k, *results)]
        run(library[name], 3, 128, Given(*places, (1.5, -2.5, 0.25, 7), n))
        assert results[0].any()
        found.append([np.where(array == array, array, array.dtype.type(99)).view(np.uint8) for array in results])
    for through_ptx, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(through_ptx, expected)
