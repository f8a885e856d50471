"""Translates the PTX that nvcc writes into C++, so that CUDA kernels run on the CPU, one thread after another.

Covered are kernels whose threads do not meet: no shared memory, barriers, votes or shuffles. What is not known raises a
`PtxError` that names it. IEEE instructions give the bits that PTX promises, where a `mul` and an `add` without `.rn`,
which ptxas may fuse, stay two (nvcc's `-fmad=false` keeps ptxas from it); `.approx` ones are nearly exact.
"""

import ctypes
import functools
import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

FLAGS = ("-std=c++17", "-O1", "-finline-small-functions", "-march=native", "-ffp-contract=off", "-fwrapv",
         "-fno-strict-aliasing", "-fno-math-errno", "-w", "-shared", "-fPIC", "-Wl,-Bsymbolic")  # fmt: skip

PRELUDE = r"""
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
using u8 = uint8_t; using u16 = uint16_t; using u32 = uint32_t; using u64 = uint64_t;
using s8 = int8_t; using s16 = int16_t; using s32 = int32_t; using s64 = int64_t; using f16 = _Float16;
namespace {
struct Thread { u32 tid, ntid, ctaid, nctaid; };
template <class T> constexpr u32 width = 8 * sizeof(T);
float number(float x) { return __builtin_expect(x != x, 0) ? __builtin_bit_cast(float, 0x7fffffff) : x; }
f16 number(f16 x) { return x != x ? __builtin_bit_cast(f16, u16(0x7fff)) : x; }
double number(double x) { return x; }
float fused(float a, float b, float c) { return std::fma(a, b, c); }
double fused(double a, double b, double c) { return std::fma(a, b, c); }
template <class T, class F> T atom(u64 address, F f) { T& x = *(T*)address; T old = x; x = f(old); return old; }
float ftz(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
template <class T> T sat(T x) { return x > 0 ? std::min(x, T(1)) : T(0); }
template <class T> void hide(T& x) { asm volatile("" : "+m"(x) : : "memory"); }
template <class F, class... T> auto rounded(int mode, F f, T... x) {
  std::fesetround(mode);
  (hide(x), ...);
  auto y = f(x...);
  hide(y);
  std::fesetround(FE_TONEAREST);
  return y;
}
template <class T> T smaller(T a, T b) {
  return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
}
template <class T> T larger(T a, T b) { return -smaller(-a, -b); }
double upper(double x) {
  const u64 top = __builtin_bit_cast(u64, x) >> 32 << 32;
  return std::fabs(x) < 0x1p-1022 ? std::copysign(0.0, x) : __builtin_bit_cast(double, top);
}
template <class D, class S> D integer(S x) {
  if (x != x) return sizeof(S) < 8 && sizeof(D) < 8 ? 0 : D(D(1) << (width<D> - 1));
  using L = std::numeric_limits<D>;
  return x <= S(L::min()) ? L::min() : x >= S(L::max()) ? L::max() : D(x);
}
template <class D, class S> D clamped(S x) {
  using L = std::numeric_limits<D>;
  return D(std::min<__int128>(std::max<__int128>(x, L::min()), L::max()));
}
template <class T> T quotient(T a, T b) { return b == 0 ? T(-1) : b == T(-1) && T(-1) < 0 ? T(-a) : T(a / b); }
template <class T> T residue(T a, T b) { return b == 0 ? a : b == T(-1) && T(-1) < 0 ? T(0) : T(a % b); }
template <class T> T high(T a, T b) { return T(__int128(a) * b >> width<T>); }
template <class T> T plus(T a, T b, bool carry, bool& carried) {
  using U = std::make_unsigned_t<T>;
  const auto sum = (unsigned __int128)U(a) + U(b) + carry;
  carried = sum >> width<T>;
  return T(sum);
}
template <class T> T minus(T a, T b, bool borrow, bool& borrowed) {
  using U = std::make_unsigned_t<T>;
  borrowed = U(a) < (unsigned __int128)U(b) + borrow;
  return a - b - borrow;
}
template <class T> T left(T a, u32 n) { return n < width<T> ? T(a << n) : T(0); }
template <class T> T right(T a, u32 n) { return n < width<T> ? T(a >> n) : T(a < 0 ? -1 : 0); }
template <class T> T extract(T a, u32 at, u32 n) {
  at &= 255, n &= 255;
  const T x = right(a, at);
  return n == 0 ? T(0) : at + n >= width<T> ? x : right(left(x, width<T> - n), width<T> - n);
}
template <class T> T insert(T a, T b, u32 at, u32 n) {
  at &= 255, n &= 255;
  const T mask = left(T(n < width<T> ? (T(1) << n) - 1 : T(-1)), at);
  return (b & ~mask) | (left(a, at) & mask);
}
template <class T> u32 leading(T a) { return a ? __builtin_clzll(a) - (64 - width<T>) : width<T>; }
template <class T> u32 find(T a) { return width<T> - 1 - leading(std::make_unsigned_t<T>(a < 0 ? ~a : a)); }
template <class T> u32 shift_to_find(T a) { const u32 at = find(a); return at == ~0u ? at : width<T> - 1 - at; }
template <class T> T reversed(T a) { T r = 0; for (u32 i = 0; i < width<T>; i++) r = r << 1 | (a >> i & 1); return r; }
u64 joined(u32 low, u32 top) { return u64(top) << 32 | low; }
u32 permuted(u32 a, u32 b, u32 c) {
  u32 r = 0;
  for (int i = 0; i < 4; i++) {
    const u32 pick = c >> 4 * i, byte = joined(a, b) >> 8 * (pick & 7) & 255;
    r |= (pick & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
  }
  return r;
}
u32 looked_up(u32 a, u32 b, u32 c, u32 table) {
  u32 r = 0;
  for (int i = 0; i < 8; i++) r |= table >> i & 1 ? (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c) : 0;
  return r;
}
u16 bfloat(u32 x) { return (x & 0x7fffffff) > 0x7f800000 ? 0x7fff : x + 0x7fff + (x >> 16 & 1) >> 16; }
template <class F> void launch(u32 grid, u32 block, F kernel) {
  std::fenv_t before;
  std::fegetenv(&before);
  std::fesetenv(FE_DFL_ENV);
  for (u32 i = 0; i < grid; i++)
    for (u32 j = 0; j < block; j++) kernel(Thread{j, block, i, grid});
  std::fesetenv(&before);
}
}
"""

TYPES = {f"{kind}{size}": f"{'s' if kind == 's' else 'u'}{size}" for kind in "bus" for size in (8, 16, 32, 64)}
TYPES |= {"f16": "f16", "f32": "float", "f64": "double", "pred": "bool"}
STORED = TYPES | {"f16": "u16", "f32": "u32", "f64": "u64"}
FLOATS = {"f16", "float", "double"}
MODES = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}
INTEGRAL = {"rni": "std::rint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}
SPECIAL = {"%tid.x": "t.tid", "%ntid.x": "t.ntid", "%ctaid.x": "t.ctaid", "%nctaid.x": "t.nctaid"}
SPECIAL |= {f"%{name}.{axis}": "0" for name in ("tid", "ctaid") for axis in "yz"}
SPECIAL |= {f"%{name}.{axis}": "1" for name in ("ntid", "nctaid") for axis in "yz"}
SPECIAL |= {"%laneid": "t.tid % 32", "WARP_SZ": "32"}
COMPARE = {"eq": "a == b", "ne": "a != b", "lt": "a < b", "le": "a <= b", "gt": "a > b", "ge": "a >= b"}
COMPARE |= {"lo": "a < b", "ls": "a <= b", "hi": "a > b", "hs": "a >= b"}
COMPARE_FLOAT = COMPARE | {"ne": "a < b || a > b", "equ": "!(a < b || a > b)", "neu": "a != b", "ltu": "!(a >= b)"}
COMPARE_FLOAT |= {"leu": "!(a > b)", "gtu": "!(a <= b)", "geu": "!(a < b)"}
COMPARE_FLOAT |= {"num": "a == a && b == b", "nan": "a != a || b != b"}
LOGIC = {"and": "a & b", "or": "a | b", "xor": "a ^ b"}
ATOMIC = LOGIC | {"add": "a + b", "min": "std::min(a, b)", "max": "std::max(a, b)", "exch": "b"}
ATOMIC |= {"cas": "a == b ? c : a", "inc": "a >= b ? 0 : a + 1", "dec": "a == 0 || a > b ? b : a - 1"}

INT, HALF, BITS = r"\.(?P<t>[us](?:16|32|64))", r"\.(?P<t>[us](?:16|32))", r"\.(?P<t>b(?:16|32|64))"
ANY = r"\.(?P<t>[busf](?:16|32|64))"
FLOAT = r"(?:\.(?P<round>r[nzmp]))?(?P<ftz>\.ftz)?(?P<sat>\.sat)?\.(?P<t>f32|f64)"
NAN = r"(?P<ftz>\.ftz)?\.NaN\.(?P<t>f32)"
APPROX = r"\.approx(?P<ftz>\.ftz)?\.(?P<t>f32)"
# Opcode in two parts; types; value without the carry that it takes and the one that it gives
CARRYING = [
    ("add", "", "t t t", "plus(a, b"),
    ("sub", "", "t t t", "minus(a, b"),
    ("mad", r"\.lo", "t t t t", "plus(a * b, c"),
    ("mad", r"\.hi", "t t t t", "plus(high(a, b), c"),
]
# Opcode; types of result and operands (t: the opcode's, r: the same as bits, w: twice as wide, or one of C++); value
RULES: list[tuple[str, str, str]] = [
    ("add" + INT, "t t t", "a + b"),
    ("sub" + INT, "t t t", "a - b"),
    (r"mul\.lo" + INT, "t t t", "a * b"),
    (r"mul\.hi" + INT, "t t t", "high(a, b)"),
    (r"mul\.wide" + HALF, "w t t", "s64(a) * s64(b)"),
    (r"mad\.lo" + INT, "t t t t", "a * b + c"),
    (r"mad\.hi" + INT, "t t t t", "high(a, b) + c"),
    (r"mad\.wide" + HALF, "w t t w", "s64(a) * s64(b) + c"),
    *(
        (f"{op}{takes}{part}{gives}{INT}", kinds, f"{value}, {'cc' if takes else 0}, {'cc' if gives else 'gone'})")
        for op, part, kinds, value in CARRYING
        for takes, gives in (("", r"\.cc"), ("c", r"\.cc"), ("c", ""))
    ),
    ("sad" + INT, "t t t t", "c + (a < b ? b - a : a - b)"),
    ("div" + INT, "t t t", "quotient(a, b)"),
    ("rem" + INT, "t t t", "residue(a, b)"),
    ("abs" + INT, "t t", "a < 0 ? -a : a"),
    ("neg" + INT, "t t", "-a"),
    ("min" + INT, "t t t", "std::min(a, b)"),
    ("max" + INT, "t t t", "std::max(a, b)"),
    *((f"{op}{BITS}", "t t t", value) for op, value in LOGIC.items()),
    *((rf"{op}\.pred", "bool bool bool", value) for op, value in LOGIC.items()),
    ("not" + BITS, "t t", "~a"),
    (r"not\.pred", "bool bool", "!a"),
    ("shl" + BITS, "t t u32", "left(a, b)"),
    ("shr" + ANY, "t t u32", "right(a, b)"),
    (r"shf\.l\.wrap\.b32", "u32 u32 u32 u32", "joined(a, b) << (c & 31) >> 32"),
    (r"shf\.l\.clamp\.b32", "u32 u32 u32 u32", "joined(a, b) << std::min(c, 32u) >> 32"),
    (r"shf\.r\.wrap\.b32", "u32 u32 u32 u32", "joined(a, b) >> (c & 31)"),
    (r"shf\.r\.clamp\.b32", "u32 u32 u32 u32", "joined(a, b) >> std::min(c, 32u)"),
    ("bfe" + INT, "t t u32 u32", "extract(a, b, c)"),
    ("bfi" + BITS, "t t t u32 u32", "insert(a, b, c, d)"),
    (r"prmt\.b32", "u32 u32 u32 u32", "permuted(a, b, c)"),
    (r"lop3\.b32", "u32 u32 u32 u32 u32", "looked_up(a, b, c, d)"),
    ("popc" + BITS, "u32 t", "__builtin_popcountll(a)"),
    ("clz" + BITS, "u32 t", "leading(a)"),
    ("brev" + BITS, "t t", "reversed(a)"),
    ("bfind" + INT, "u32 t", "find(a)"),
    (r"bfind\.shiftamt" + INT, "u32 t", "shift_to_find(a)"),
    ("selp" + ANY, "r r r bool", "c ? a : b"),
    (rf"slct{ANY}\.s32", "r r r s32", "c >= 0 ? a : b"),
    ("add" + FLOAT, "t t t", "a + b"),
    ("sub" + FLOAT, "t t t", "a - b"),
    ("mul" + FLOAT, "t t t", "a * b"),
    ("(?:fma|mad)" + FLOAT, "t t t t", "fused(a, b, c)"),
    (r"div(?:\.full)?" + FLOAT, "t t t", "a / b"),
    ("rcp" + FLOAT, "t t", "1 / a"),
    ("sqrt" + FLOAT, "t t", "std::sqrt(a)"),
    ("neg" + FLOAT, "t t", "-a"),
    ("abs" + FLOAT, "t t", "std::fabs(a)"),
    ("min" + FLOAT, "t t t", "smaller(a, b)"),
    ("max" + FLOAT, "t t t", "larger(a, b)"),
    ("min" + NAN, "t t t", "a != a || b != b ? NAN : smaller(a, b)"),
    ("max" + NAN, "t t t", "a != a || b != b ? NAN : larger(a, b)"),
    ("copysign" + FLOAT, "t t t", "std::copysign(b, a)"),
    ("div" + APPROX, "t t t", "a * ftz(1 / b)"),
    ("rcp" + APPROX, "t t", "1 / a"),
    ("sqrt" + APPROX, "t t", "std::sqrt(a)"),
    ("rsqrt" + APPROX, "t t", "1 / std::sqrt(double(a))"),
    ("ex2" + APPROX, "t t", "std::exp2(double(a))"),
    ("lg2" + APPROX, "t t", "std::log2(double(a))"),
    ("(?P<f>sin|cos|tanh)" + APPROX, "t t", "std::f(double(a))"),
    (r"cvt\.f32\.bf16", "float u16", "__builtin_bit_cast(float, u32(a) << 16)"),
    (r"cvt\.rn\.bf16\.f32", "u16 u32", "bfloat(a)"),
    (r"rcp\.approx\.ftz\.f64", "double double", "upper(1 / upper(a))"),
    (r"rsqrt\.approx\.f64", "double double", "1 / std::sqrt(a)"),
    (r"rsqrt\.approx\.ftz\.f64", "double double", "upper(1 / std::sqrt(upper(a)))"),
]
SIZED = r"[us](?:8|16|32|64)|f16|f32|f64"
CVT = re.compile(
    r"cvt(?:\.(?P<integral>r[nzmp]i)|\.(?P<round>r[nzmp]))?(?P<ftz>\.ftz)?(?P<sat>\.sat)?"
    rf"\.(?P<to>{SIZED})\.(?P<t>{SIZED})"
)
SETP = re.compile(rf"setp\.(?P<compare>[a-z]+)(?:\.(?P<logic>and|or|xor))?(?P<ftz>\.ftz)?{ANY}")
MOVE = re.compile(rf"(?:mov|cvta(?:\.to)?\.(?:global|local|const|param)){ANY}|mov\.pred")
SCOPE = r"(?:\.(?:relaxed|acquire|release|acq_rel))?(?:\.(?:cta|gpu|sys))?"
MEMORY = re.compile(
    rf"(?P<op>ld|st)(?:\.volatile|\.weak|{SCOPE})(?:\.(?:global|local|param|const))?"
    r"(?:\.nc|\.c[agsv]|\.lu|\.w[bt]|\.L[12]::\w+)*(?:\.v(?P<lanes>[24]))?\.(?P<t>[bus](?:8|16|32|64)|f32|f64)"
)
ATOM = re.compile(rf"(?:atom|(?P<red>red)){SCOPE}(?:\.global)?\.(?P<op>[a-z]+)\.(?P<t>[bus](?:32|64)|f32|f64)")
BRANCH, CALL, LEAVE = re.compile(r"bra(?:\.uni)?"), re.compile(r"call(?:\.uni)?"), re.compile(r"exit|ret(?:\.uni)?")
FENCE = re.compile(r"(?:membar|fence)\.[\w.]+")

NAME = r"[%$\w]+"
BLANK = re.compile(r"\s*")
HEADER = re.compile(r"\.(?:version|target|address_size)\b[^\n]*")
FUNCTION = re.compile(
    rf"(?:\.(?:visible|weak|extern)\s+)*\.(?P<kind>entry|func)\s*(?:\((?P<result>[^)]*)\)\s*)?(?P<name>{NAME})"
    r"\s*(?:\((?P<params>[^)]*)\))?(?:\s*\.(?:maxntid|reqntid|minnctapersm|maxnreg)[\s\d,]+)*\s*(?P<end>[;{])"
)
VARIABLE = re.compile(
    r"(?:\.(?:visible|weak)\s+)*\.(?P<space>global|const|local|param)\s+(?:\.align\s+(?P<align>\d+)\s+)?"
    r"\.(?P<t>[busf](?:8|16|32|64))\s+(?:\.ptr\s+(?:\.global\s+)?(?:\.align\s+\d+\s+)?)?"
    rf"(?P<name>{NAME})(?:\[(?P<size>\d+)\])?(?:\s*=\s*(?P<value>[^;]+))?\s*"
)
REGISTERS = re.compile(r"\.reg\s+\.(?P<t>[busf](?:16|32|64)|pred)\s+(?P<names>[^.]+)")
REGISTER = re.compile(rf"({NAME})(?:<(\d+)>)?")
OPEN, CLOSE, END, LABEL = map(re.compile, (r"\{", r"\}", ";", rf"({NAME})\s*:(?!:)"))
STATEMENT = re.compile(r"([^;{}]*(?:\{[^;{}]*\}[^;{}]*)*);")
INSTRUCTION = re.compile(rf"(?:@(?P<guard>!?{NAME})\s+)?(?P<opcode>[\w.:]+)\s*(?P<operands>.*)", re.S)
OPERAND = re.compile(r"\{[^}]*\}|\[[^]]*\]|\([^)]*\)|[^,\s]+")
ITEM = re.compile(r"[^,\s](?:[^,]*[^,\s])?")
SUM = re.compile(rf"(?:generic\()?({NAME})\)?(?:\s*\+\s*(-?\d+))?")
FLOAT_LITERAL = re.compile(r"0(?:[fF]([\da-fA-F]{8})|[dD]([\da-fA-F]{16}))")
INTEGER = re.compile(r"(-?(?:0[xX][\da-fA-F]+|\d+))U?")


class PtxError(ValueError):
    """PTX that is not covered, with its line."""


def cxx(name: str) -> str:
    """The C++ identifier for a PTX one."""
    return "v" + name.replace("%", "$")


@functools.cache
def find_rule(opcode: str) -> tuple[dict[str, str | None], list[str], str] | None:
    """The rule for an opcode: the parts of the opcode, the types and the value."""
    for pattern, kinds, value in RULES:
        if match := re.fullmatch(pattern, opcode):
            parts = match.groupdict()
            return parts, kinds.split(), re.sub(r"\bf\b", parts.get("f") or "f", value)
    return None


def filled(value: str, args: list[str]) -> str:
    """A value with its operands a, b, c and d."""
    return re.sub(r"\b[a-d]\b", lambda match: args["abcd".index(match[0])], value)


def finished(parts: dict[str, str | None], value: str, kind: str) -> str:
    """A result of a C++ type, saturated and flushed to zero as the opcode asks, and any NaN the one that PTX gives."""
    value = f"sat({value})" if parts.get("sat") else value
    value = f"ftz({value})" if parts.get("ftz") and kind == "float" else value
    return f"number({value})" if kind in FLOATS else value


def recast(value: str, kind: str, to: str) -> str:
    """A value of a C++ type as another: floats by their bits, integers cut or extended."""
    if kind == to:
        return value
    return f"__builtin_bit_cast({to}, {value})" if {kind, to} & FLOATS else f"{to}({value})"


class Translator:
    """One pass over a PTX module, from its start to its end."""

    def __init__(self, ptx: str) -> None:
        self.text = re.sub(r"//[^\n]*", "", ptx)
        self.at = self.start = 0
        self.scopes: list[dict[str, tuple[str, str]]] = [{}]
        self.head: list[str] = []
        self.code: list[str] = []
        self.kernel = False
        self.defined: set[str] = set()
        self.called: dict[str, PtxError] = {}

    def error(self, what: str) -> PtxError:
        """The error to raise at the current statement."""
        line = self.text.count("\n", 0, self.start) + 1
        return PtxError(f"line {line}: {what}")

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Moves past a match at the current place, and blanks."""
        if match := pattern.match(self.text, self.at):
            blank = BLANK.match(self.text, match.end())
            self.at = blank.end() if blank else match.end()
        return match

    def module(self) -> str:
        """The C++ of the whole module."""
        self.take(BLANK)
        while self.at < len(self.text):
            self.start = self.at
            if self.take(HEADER):
                continue
            if function := self.take(FUNCTION):
                self.function(function)
            elif (variable := self.take(VARIABLE)) and variable["space"] in ("global", "const") and self.take(END):
                self.head.append(self.variable(variable))
            else:
                raise self.error(f"unknown directive {self.text[self.start :].splitlines()[0]!r}")
        for name, error in self.called.items():
            if name not in self.defined:
                raise error
        return "\n".join([PRELUDE, *self.head, *self.code, ""])

    def function(self, match: re.Match[str]) -> None:
        """Translates a kernel or device function with its body, if it has one."""
        self.scopes.append({})
        params = []
        for text in ITEM.findall(f"{match['result'] or ''},{match['params'] or ''}"):
            if not (param := VARIABLE.fullmatch(text)):
                raise self.error(f"unknown parameter {text!r}")
            params.append(cxx(param["name"]))
            self.scopes[-1][param["name"]] = f"u64({params[-1]})", "address"
        name = cxx(match["name"])
        signature = f"static void {name}({', '.join(['const Thread& t', *(f'u8* {x}' for x in params)])})"
        self.head.append(f"{signature};")
        if match["end"] == ";":
            self.scopes.pop()
            return
        self.kernel = match["kind"] == "entry"
        self.defined.add(match["name"])
        self.code.append(f"{signature} {{\nbool cc, gone;")
        while len(self.scopes) > 1:
            self.line()
        if self.kernel:
            args = ", ".join(["t", *(f"(u8*)args[{i}]" for i in range(len(params)))])
            self.code.append(
                f'extern "C" void {match["name"]}(unsigned grid_x, unsigned block_x, void** args) {{\n'
                f"launch(grid_x, block_x, [&](const Thread& t) {{ {name}({args}); }});\n}}"
            )

    def line(self) -> None:
        """Translates one statement, label or brace of a body."""
        self.start = self.at
        if self.take(OPEN):
            self.scopes.append({})
            self.code.append("{")
        elif self.take(CLOSE):
            self.scopes.pop()
            self.code.append("}")
        elif label := self.take(LABEL):
            self.code.append(f"{cxx(label[1])}:;")
        elif statement := self.take(STATEMENT):
            self.code.append(self.statement(statement[1].strip()))
        else:
            raise self.error(f"unknown statement {self.text[self.start :].splitlines()[0]!r}")

    def statement(self, text: str) -> str:
        """The C++ of a declaration or an instruction."""
        if registers := REGISTERS.fullmatch(text):
            names = []
            for name, count in REGISTER.findall(registers["names"]):
                names += [f"{name}{i}" for i in range(int(count))] if count else [name]
            kind = TYPES[registers["t"]]
            self.scopes[-1] |= {x: (cxx(x), kind) for x in names}
            return f"{kind} {', '.join(map(cxx, names))};"
        if (variable := VARIABLE.fullmatch(text)) and variable["space"] in ("local", "param"):
            return self.variable(variable)
        if text.startswith(".pragma"):
            return ""
        parts = INSTRUCTION.fullmatch(text)
        if text.startswith(".") or not parts:
            raise self.error(f"unknown directive {text.splitlines()[0]!r}")
        code = self.instruction(parts["opcode"], OPERAND.findall(parts["operands"]))
        return f"if ({self.value(parts['guard'], 'bool')}) {{ {code} }}" if parts["guard"] else code

    def variable(self, match: re.Match[str]) -> str:
        """The C++ of a variable in memory: an array, so that its name is its address."""
        name, kind = match["name"], STORED[match["t"]]
        self.scopes[-1][name] = f"u64({cxx(name)})", "address"
        code = f"alignas({max(int(match['align'] or 1), 8)}) {kind} {cxx(name)}[{match['size'] or 1}]"
        if match["space"] in ("local", "param"):
            return f"{code};"
        values = ITEM.findall((match["value"] or "").strip("{} \n"))
        return f'{code} asm("{name}") = {{{", ".join(self.value(x, kind) for x in values)}}};'

    def value(self, text: str, kind: str) -> str:
        """The C++ of an operand, read as a C++ type."""
        if text[0] == "!":
            return f"!{self.value(text[1:], kind)}"
        if literal := INTEGER.fullmatch(text):
            return f"{kind}({int(literal[1], 0) % 2**64}ull)"
        if literal := FLOAT_LITERAL.fullmatch(text):
            source, digits = ("u32", literal[1]) if literal[1] else ("u64", literal[2])
            return recast(f"{source}(0x{digits})", source, kind)
        if text in SPECIAL:
            return f"{kind}({SPECIAL[text]})"
        if total := SUM.fullmatch(text):
            found, source = self.lookup(total[1])
            return recast(f"({found} + {total[2]})" if total[2] else found, source, kind)
        raise self.error(f"unknown operand {text}")

    def lookup(self, name: str) -> tuple[str, str]:
        """The C++ variable of a register and its type, or the address of a variable in memory."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise self.error(f"unknown register or variable {name}")

    def assign(self, name: str, value: str, kind: str) -> str:
        """The C++ that sets a register to a value of a C++ type."""
        if name == "_":
            return f"{value};"
        variable, to = self.lookup(name)
        if to == "address":
            raise self.error(f"{name} is not a register")
        return f"{variable} = {recast(value, kind, to)};"

    def instruction(self, opcode: str, operands: list[str]) -> str:
        """The C++ of an instruction."""
        for pattern, counts, method in FORMS:
            if match := pattern.fullmatch(opcode):
                return method(self, match, operands) if len(operands) in counts else self.unknown(opcode, operands)
        if not (rule := find_rule(opcode)):
            raise self.error(f"unknown instruction {opcode}")
        parts, signature, value = rule
        if len(operands) != len(signature):
            self.unknown(opcode, operands)
        t = parts.get("t") or "u32"
        special = {"t": TYPES[t], "r": STORED[t], "w": f"{t[0]}{2 * int(t[1:])}"}
        kinds = [special.get(kind, kind) for kind in signature]
        args = [self.value(*pair) for pair in zip(operands[1:], kinds[1:], strict=True)]
        if parts.get("ftz"):
            args = [f"ftz({x})" for x in args]
        if mode := MODES.get(parts.get("round") or ""):
            names = ", ".join(f"{kind} {name}" for kind, name in zip(kinds[1:], "abcd", strict=False))
            value = f"rounded({mode}, []({names}) {{ return {value}; }}, {', '.join(args)})"
        else:
            value = filled(value, args)
        return self.assign(operands[0], finished(parts, f"{kinds[0]}({value})", kinds[0]), kinds[0])

    def unknown(self, opcode: str, operands: list[str]) -> NoReturn:
        """Raises for an instruction whose operands are not as they should be."""
        raise self.error(f"unknown form of {opcode}: {', '.join(operands)}")

    def convert(self, match: re.Match[str], operands: list[str]) -> str:
        """`cvt`, between any two types."""
        to, source, mode = TYPES[match["to"]], TYPES[match["t"]], MODES.get(match["round"])
        if match["t"][0] == "f" != match["to"][0] and not match["integral"]:
            self.unknown(match[0], operands)
        value = self.value(operands[1], source)
        value = f"ftz({value})" if match["ftz"] and source == "float" else value
        value = f"{INTEGRAL[match['integral']]}({value})" if match["integral"] else value
        if match["to"][0] == "f":
            value = f"rounded({mode}, []({source} a) {{ return {to}(a); }}, {value})" if mode else f"{to}({value})"
            return self.assign(operands[0], finished(match.groupdict(), value, to), to)
        how = f"integer<{to}>" if match["t"][0] == "f" else f"clamped<{to}>" if match["sat"] else to
        return self.assign(operands[0], f"{how}({value})", to)

    def compare(self, match: re.Match[str], operands: list[str]) -> str:
        """`setp`."""
        values = (COMPARE_FLOAT if match["t"][0] == "f" else COMPARE).get(match["compare"])
        if not values or len(operands) != (4 if match["logic"] else 3):
            self.unknown(match[0], operands)
        args = [self.value(x, TYPES[match["t"]]) for x in operands[1:3]]
        value = filled(values, [f"ftz({x})" if match["ftz"] else x for x in args])
        if match["logic"]:
            value = filled(f"bool({LOGIC[match['logic']]})", [f"({value})", self.value(operands[3], "bool")])
        return self.assign(operands[0], value, "bool")

    def move(self, match: re.Match[str], operands: list[str]) -> str:
        """`mov` and `cvta` (all address spaces are one here), with vectors packed and unpacked."""
        to, source = operands
        t = match["t"] or "pred"
        if "{" not in to + source:
            return self.assign(to, self.value(source, STORED[t]), STORED[t])
        parts = OPERAND.findall((to if to[0] == "{" else source).strip("{}"))
        size = int(t[1:]) // len(parts)
        if to[0] == "{":
            sets = (self.assign(part, f"u{size}(x >> {size * i})", f"u{size}") for i, part in enumerate(parts))
            return f"{{ const u64 x = {self.value(source, STORED[t])}; {' '.join(sets)} }}"
        values = (f"u64({self.value(part, f'u{size}')}) << {size * i}" for i, part in enumerate(parts))
        return self.assign(to, f"{STORED[t]}({' | '.join(values)})", STORED[t])

    def address(self, text: str) -> str:
        """The C++ of an operand in brackets."""
        if text[0] != "[":
            raise self.error(f"unknown address {text}")
        return self.value(text[1:-1].strip(), "u64")

    def memory(self, match: re.Match[str], operands: list[str]) -> str:
        """`ld` and `st`, of one value or a vector."""
        kind, load = STORED[match["t"]], match["op"] == "ld"
        where, what = operands[:: -1 if load else 1]
        parts = OPERAND.findall(what.strip("{}"))
        if len(parts) != int(match["lanes"] or 1):
            self.unknown(match[0], operands)
        code = [f"const u64 x = {self.address(where)};"]
        for i, part in enumerate(parts):
            at = f"(({kind}*)x)[{i}]"
            code.append(self.assign(part, at, kind) if load else f"{at} = {self.value(part, kind)};")
        return f"{{ {' '.join(code)} }}"

    def atomic(self, match: re.Match[str], operands: list[str]) -> str:
        """`atom`, and `red`, which drops the value from before."""
        kind, op = TYPES[match["t"]], match["op"]
        where, *values = operands if match["red"] else operands[1:]
        if op not in ATOMIC or len(values) != (2 if op == "cas" else 1):
            self.unknown(match[0], operands)
        value = "ftz(ftz(a) + ftz(b))" if match["t"] == "f32" else ATOMIC[op]
        value = filled(value, ["a", *(self.value(x, kind) for x in values)])
        value = f"atom<{kind}>({self.address(where)}, [&]({kind} a) {{ return {value}; }})"
        return f"{value};" if match["red"] else self.assign(operands[0], value, kind)

    def call(self, match: re.Match[str], operands: list[str]) -> str:
        """A direct call, whose result and arguments are .param variables."""
        result = operands[:1] if operands[0][0] == "(" else []
        name, *params = operands[len(result) :]
        if len(params) > 1:
            self.unknown(match[0], operands)
        self.called.setdefault(name, self.error(f"call of {name}, which has no body"))
        args = []
        for arg in OPERAND.findall(",".join(x[1:-1] for x in [*result, *params])):
            if self.lookup(arg)[1] != "address":
                raise self.error(f"argument {arg} of {name} is not a .param variable")
            args.append(f"(u8*){cxx(arg)}")
        return f"{cxx(name)}({', '.join(['t', *args])});"

    def leave(self, match: re.Match[str], operands: list[str]) -> str:
        """`ret`, and `exit` in a kernel."""
        if match[0] == "exit" and not self.kernel:
            raise self.error("exit in a device function")
        return "return;"


FORMS: list[tuple[re.Pattern[str], tuple[int, ...], Callable[..., str]]] = [
    (MOVE, (2,), Translator.move),
    (MEMORY, (2,), Translator.memory),
    (CVT, (2,), Translator.convert),
    (SETP, (3, 4), Translator.compare),
    (ATOM, (2, 3, 4), Translator.atomic),
    (BRANCH, (1,), lambda _, match, operands: f"goto {cxx(operands[0])};"),
    (CALL, (1, 2, 3), Translator.call),
    (LEAVE, (0,), Translator.leave),
    (FENCE, (0,), lambda *_: ""),
]


def translate(ptx: str) -> str:
    """C++ with, for each kernel, `extern "C" void kernel(unsigned grid_x, unsigned block_x, void** args)`.

    It runs all threads one after another; args are, as for cuLaunchKernel, pointers to each argument's bytes. Module
    variables are symbols of their PTX names.
    """
    return Translator(ptx).module()


def load(ptx: str, folder: Path, *options: str) -> ctypes.CDLL:
    """Translates and compiles PTX, with more options for g++ if given, and loads the library written to the folder."""
    code = translate(ptx)
    source = (folder / f"ptx_{hashlib.sha256(code.encode()).hexdigest()[:16]}.cpp").resolve()
    source.write_text(code)
    library = source.with_suffix(".so")
    done = subprocess.run(["g++", *FLAGS, *options, source, "-o", library], capture_output=True, text=True)
    if done.returncode:
        raise PtxError(f"g++ failed on {source}:\n{done.stderr[:4000]}")
    return ctypes.CDLL(str(library))
