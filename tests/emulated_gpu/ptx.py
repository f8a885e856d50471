"""Translates the PTX that nvcc writes into C++, so that CUDA kernels run on a CPU, one thread after another.

Covered is what the project's kernels use: they have no functions that are called, no shared memory and no barriers. All
else raises a `PtxError`. Results have the bits that PTX promises; `.approx` ones, where it leaves them open, are nearly
exact, and a `mul` and an `add`, which ptxas may fuse where they lack `.rn`, stay two.
"""

import functools
import re

FLAGS = ("-std=c++17", "-O1", "-finline-small-functions", "-march=native", "-ffp-contract=off", "-fwrapv",
         "-fno-strict-aliasing", "-fno-math-errno", "-w", "-shared", "-fPIC", "-Wl,-Bsymbolic")  # fmt: skip

_PRELUDE = r"""
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
using u8 = uint8_t; using u16 = uint16_t; using u32 = uint32_t; using u64 = uint64_t;
using s8 = int8_t; using s16 = int16_t; using s32 = int32_t; using s64 = int64_t;
namespace {
template <class T> T ftz(T x) { return x; }
float ftz(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
template <class T> T one_nan(T x) { return x; }
float one_nan(float x) { return __builtin_expect(x != x, 0) ? __builtin_bit_cast(float, 0x7fffffff) : x; }
template <class T> T smaller(T a, T b) {
  return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
}
template <class T> T larger(T a, T b) { return -smaller(-a, -b); }
template <class T> T quotient(T a, T b) { return b == 0 ? T(-1) : b == T(-1) && T(-1) < 0 ? T(-a) : T(a / b); }
template <class T> T residue(T a, T b) { return b == 0 ? a : b == T(-1) && T(-1) < 0 ? T(0) : T(a % b); }
template <class T> T left(T a, u32 n) { return n < 8 * sizeof(T) ? T(a << n) : T(0); }
template <class T> T right(T a, u32 n) { return n < 8 * sizeof(T) ? T(a >> n) : T(a < 0 ? -1 : 0); }
template <class To, class T> To integer(T x) {
  using Limits = std::numeric_limits<To>;
  if (x != x) return sizeof(T) < 8 && sizeof(To) < 8 ? 0 : To(To(1) << (8 * sizeof(To) - 1));
  return x <= T(Limits::min()) ? Limits::min() : x >= T(Limits::max()) ? Limits::max() : To(x);
}
[[noreturn, gnu::cold, gnu::noinline]] void misaligned(u64 address, u32 size, int line, const char* opcode) {
  std::fprintf(stderr, "PTX line %d: %s at %#llx, which is not a multiple of %u\n", line, opcode, address, size);
  std::abort();
}
template <class T, u32 count> T* place(u64 address, int line, const char* opcode) {
  const u32 size = count * sizeof(T);
  if (__builtin_expect(address % size != 0, 0)) misaligned(address, size, line, opcode);
  return (T*)address;
}
template <class F> void launch(u32 grid, u32 block, F kernel) {
  std::fenv_t before;  // the caller may flush to zero
  std::fegetenv(&before);
  std::fesetenv(FE_DFL_ENV);
  for (u32 i = 0; i < grid; i++)
    for (u32 j = 0; j < block; j++) kernel(i, j);
  std::fesetenv(&before);
}
}
"""

_TYPES = {f"{kind}{size}": f"{'s' if kind == 's' else 'u'}{size}" for kind in "bus" for size in (8, 16, 32, 64)}
_TYPES |= {"f32": "float", "f64": "double", "pred": "bool"}
_SPECIAL = {"%tid.x": "thread", "%ntid.x": "block_x", "%ctaid.x": "block", "%nctaid.x": "grid_x"}

# What an opcode ends with: types, and the flag that takes numbers below the normal ones as zero
_INT, _BIT, _PRED = r"\.(?P<t>[us](?:16|32|64))", r"\.(?P<t>b(?:16|32|64))", r"\.(?P<t>pred)"
_ANY_INT, _ANY = r"\.(?P<t>[bus](?:16|32|64))", r"\.(?P<t>[bus](?:16|32|64)|f32|f64)"
_FTZ, _REAL = r"(?P<ftz>\.ftz)?", r"\.(?P<t>f32|f64)"
_F32, _FLOAT = _FTZ + r"\.(?P<t>f32)", _FTZ + _REAL
_TO, _FROM = r"\.(?P<to>[us](?:8|16|32|64))", r"\.(?P<t>[us](?:8|16|32|64))"

_LOGIC = {"and": "&", "or": "|", "xor": "^"}
_COMPARE = {"eq": "a == b", "ne": "a != b", "lt": "a < b", "le": "a <= b", "gt": "a > b", "ge": "a >= b"}
_COMPARE_INT = _COMPARE | {"lo": "a < b", "ls": "a <= b", "hi": "a > b", "hs": "a >= b"}
_COMPARE_FLOAT = {"equ": "!(a < b || a > b)", "neu": "a != b", "ltu": "!(a >= b)", "leu": "!(a > b)"}
_COMPARE_FLOAT |= {"gtu": "!(a <= b)", "geu": "!(a < b)", "num": "a == a && b == b", "nan": "a != a || b != b"}
_COMPARE_FLOAT |= _COMPARE | {"ne": "a < b || a > b"}

# An opcode's end; types of the result and of a, b and c, in C++ (t and to are the opcode's); its starts and results
_RULES = [
    (_INT, "t t t", {"add": "a + b", "sub": "a - b", r"mul\.lo": "a * b", "min": "a < b ? a : b"}),
    (_INT, "t t t", {"max": "a > b ? a : b", "div": "quotient(a, b)", "rem": "residue(a, b)"}),
    (_INT, "t t t t", {r"mad\.lo": "a * b + c"}),
    (_INT, "t t", {"neg": "-a"}),
    *((rf"\.{t}{n}", f"{t}{2 * n} {t}{n} {t}{n}", {r"mul\.wide": "s64(a) * b"}) for t in "su" for n in (16, 32)),
    *((kind, "t t t", {op: f"a {sign} b" for op, sign in _LOGIC.items()}) for kind in (_BIT, _PRED)),
    (_BIT, "t t", {"not": "~a"}),
    (_PRED, "t t", {"not": "!a", "mov": "a"}),
    (_BIT, "t t u32", {"shl": "left(a, b)"}),
    (_ANY_INT, "t t u32", {"shr": "right(a, b)"}),
    (_FLOAT, "t t t", {r"add(\.rn)?": "a + b", r"sub(\.rn)?": "a - b", r"mul(\.rn)?": "a * b", r"div\.rn": "a / b"}),
    (_FLOAT, "t t t", {"min": "smaller(a, b)", "max": "larger(a, b)"}),
    (_FLOAT, "t t t t", {r"fma\.rn": "std::fma(a, b, c)"}),
    (_FLOAT, "t t", {"neg": "-a", "abs": "std::fabs(a)", r"rcp\.rn": "1 / a", r"sqrt\.rn": "std::sqrt(a)"}),
    (_F32, "t t", {r"rcp\.approx": "1 / a", r"sqrt\.approx": "std::sqrt(a)", r"ex2\.approx": "std::exp2(double(a))"}),
    (_F32, "t t t", {r"div\.full": "a / b"}),
    *(
        (kind, "bool t t bool" if op else "bool t t", {rf"setp\.{how}{op}": f"({value}){sign}"})
        for kind, compare in ((_ANY_INT, _COMPARE_INT), (_FLOAT, _COMPARE_FLOAT))
        for how, value in compare.items()
        for op, sign in (("", ""), *((rf"\.{op}", f" {sign} c") for op, sign in _LOGIC.items()))
    ),
    (_ANY, "t t t bool", {"selp": "c ? a : b"}),
    (_ANY, "t t", {"mov": "a"}),
    (r"\.u64", "u64 u64", {r"cvta(\.to)?\.(global|local)": "a"}),
    (_TO + _FROM, "to t", {"cvt": "a"}),
    (r"\.(?P<to>f32|f64)" + _FROM, "to t", {r"cvt\.rn": "a"}),
    (_TO + _REAL, "to t", {rf"cvt\.rzi{_FTZ}": "integer<to>(a)", rf"cvt\.rni{_FTZ}": "integer<to>(std::rint(a))"}),
    (r"\.(?P<to>f64)\.(?P<t>f32)", "to t", {rf"cvt{_FTZ}": "a"}),
    (r"\.(?P<to>f32)\.(?P<t>f64)", "to t", {rf"cvt\.rn{_FTZ}": "a"}),
]

_NAME = r"[%$\w]+"
_SKIPPED = re.compile(r"(\.(version|target|address_size|maxntid|minnctapersm|pragma)\s.*|\))?")
_ENTRY = re.compile(rf"\.visible \.entry (?P<name>{_NAME})\(")
_PARAM = re.compile(rf"\.param (\.align \d+ )?\.[bfu]\d+ (\.ptr .*\.align \d+ )?(?P<name>{_NAME})(\[\d+\])?,?")
_LOCAL = re.compile(rf"\.local \.align (?P<align>\d+) \.b8\s+(?P<name>{_NAME})\[(?P<size>\d+)\];")
_REGISTERS = re.compile(rf"\.reg \.(?P<t>[bus](?:16|32|64)|f32|f64|pred)\s+(?P<name>{_NAME})(?:<(?P<count>\d+)>)?;")
_LABEL = re.compile(rf"({_NAME}):")
_INSTRUCTION = re.compile(rf"(?:@(?P<guard>!?{_NAME})\s+)?(?P<opcode>[a-z][\w.]+)\s*(?P<operands>[^;]*);")
_SPACE = r"(?:(?P<op>ld)(?:\.global(?:\.nc)?|\.local|\.param)?|st(?:\.global|\.local)?)"
_MEMORY = re.compile(rf"{_SPACE}(?:\.v(?P<count>[24]))?\.(?P<t>[bus](?:8|16|32|64)|f32|f64)")
_ATOM = re.compile(r"atom(?:\.relaxed\.gpu)?(?:\.global)?\.add\.(?P<t>u32|s32|u64)")
_OPERAND = re.compile(r"[^,\s{}[\]]+")
_INTEGER, _LITERAL = re.compile(r"-?(?:0x[\da-fA-F]+|\d+)"), re.compile(r"0(?:f([\da-fA-F]{8})|d([\da-fA-F]{16}))")


class PtxError(ValueError):
    """PTX that is not covered, with its line."""


def translate(ptx: str, counted: bool = False) -> str:
    """C++ that has for each kernel a function `extern "C" void kernel(unsigned grid_x, unsigned block_x, void** args)`.

    Its args are, as for cuLaunchKernel, pointers to each argument. Where the address of a load or store is not a
    multiple of its size, the process ends. Counted, there is for each kernel an `extern "C" uint64_t kernel_executed`,
    the instructions that all threads have executed.
    """
    translator = _Translator(counted)
    code = (translator.statement(line, text) for line, text in enumerate(ptx.splitlines(), 1))
    return "\n".join([_PRELUDE, *code, ""])


@functools.cache
def _find_rule(opcode: str) -> tuple[dict[str, str], list[str], str] | None:
    """The rule for an opcode: the named parts of the opcode, types and result."""
    for end, kinds, results in _RULES:
        for start, result in results.items():
            if found := re.fullmatch(start + end, opcode):
                return found.groupdict(""), kinds.split(), result
    return None


def _cxx(name: str) -> str:
    """The C++ identifier for a PTX one."""
    return "v" + name.replace("%", "$")


def _recast(value: str, kind: str, to: str) -> str:
    """A value of a C++ type as another: floats by their bits, integers cut or extended."""
    bits = kind != to and {kind, to} & {"float", "double"}
    return f"__builtin_bit_cast({to}, {value})" if bits else f"{to}({value})"


class _Translator:
    """One pass over a module, line by line: nvcc writes one statement to each, or one of a kernel's parameters."""

    def __init__(self, counted: bool) -> None:
        self.line, self.text = 0, ""
        self.counted, self.count = counted, ""  # C++ that counts an instruction of the kernel
        self.kinds: dict[str, str] = {}  # C++ types of the kernel's registers and addresses
        self.body = False

    def error(self, what: str) -> PtxError:
        """The error to raise at the current line."""
        return PtxError(f"line {self.line}: {what} in {self.text!r}")

    def statement(self, line: int, text: str) -> str:
        """The C++ of a line."""
        self.line, self.text = line, text.partition("//")[0].strip()
        if _SKIPPED.fullmatch(self.text):
            return ""
        if entry := _ENTRY.fullmatch(self.text):
            self.kinds = {}
            start = f'extern "C" void {entry["name"]}(unsigned grid_x, unsigned block_x, void** args) {{'
            if self.counted:
                self.count = f"{entry['name']}_executed++; "
                start = f'extern "C" {{ u64 {entry["name"]}_executed = 0; }}\n{start}'
            return f"{start}\nlaunch(grid_x, block_x, [=](u32 block, u32 thread) {{"
        if param := _PARAM.fullmatch(self.text):
            return self.address(param["name"], f"args[{len(self.kinds)}]")
        if self.text == ("}" if self.body else "{"):
            self.body = not self.body
            return "" if self.body else "});\n}"
        if local := _LOCAL.fullmatch(self.text):
            held = f"held_{_cxx(local['name'])}"
            return f"alignas({local['align']}) u8 {held}[{local['size']}]; {self.address(local['name'], held)}"
        if registers := _REGISTERS.fullmatch(self.text):
            name, count, kind = registers["name"], registers["count"], _TYPES[registers["t"]]
            names = [f"{name}{i}" for i in range(int(count))] if count else [name]
            self.kinds |= dict.fromkeys(names, kind)
            return f"{kind} {', '.join(map(_cxx, names))};"
        if label := _LABEL.fullmatch(self.text):
            return f"{_cxx(label[1])}:;"
        if not (parts := _INSTRUCTION.fullmatch(self.text)):
            raise self.error("unknown statement")
        code = self.instruction(parts["opcode"], parts["operands"])
        return self.count + (f"if ({self.value(parts['guard'], 'bool')}) {{ {code} }}" if parts["guard"] else code)

    def address(self, name: str, value: str) -> str:
        """The C++ that gives a name to an address."""
        self.kinds[name] = "u64"
        return f"const u64 {_cxx(name)} = u64({value});"

    def instruction(self, opcode: str, text: str) -> str:
        """The C++ of an instruction."""
        operands = _OPERAND.findall(text)
        match opcode, operands:
            case "ret", []:
                return "return;"
            case "bra" | "bra.uni", [label]:
                return f"goto {_cxx(label)};"
            case "mov.b64", [low, high, source] if text[0] == "{":
                sets = self.assign(low, "u32(x)", "u32") + self.assign(high, "u32(x >> 32)", "u32")
                return f"{{ const u64 x = {self.value(source, 'u64')}; {sets} }}"
            case "mov.b64", [to, low, high]:
                value = f"(u64({self.value(high, 'u32')}) << 32 | {self.value(low, 'u32')})"
                return self.assign(to, value, "u64")
        if (memory := _MEMORY.fullmatch(opcode)) and len(operands) == int(memory["count"] or 1) + 1:
            kind, load = _TYPES[memory["t"]], memory["op"] == "ld"
            code = self.place(opcode, kind, operands.pop(-1 if load else 0), len(operands))
            for i, operand in enumerate(operands):
                code += self.assign(operand, f"x[{i}]", kind) if load else f"x[{i}] = {self.value(operand, kind)};"
            return f"{{ {code} }}"
        if (atom := _ATOM.fullmatch(opcode)) and len(operands) == 3:
            kind, (to, where, value) = _TYPES[atom["t"]], operands
            add = f"const auto old = *x; *x += {self.value(value, kind)}; {self.assign(to, 'old', kind)}"
            return f"{{ {self.place(opcode, kind, where)} {add} }}"
        if not (rule := _find_rule(opcode)) or len(operands) != len(rule[1]):
            raise self.error("unknown instruction")
        parts, signature, result = rule
        names = {name: _TYPES[part] for name, part in parts.items() if part in _TYPES}
        kind, *kinds = (names.get(word, word) for word in signature)
        flush = "ftz" if parts.get("ftz") else ""
        args = [f"{flush}({self.value(*pair)})" for pair in zip(operands[1:], kinds, strict=True)]
        names |= zip("abc", args, strict=False)
        value = f"{kind}({re.sub('[a-z]+', lambda word: names.get(word[0], word[0]), result)})"
        return self.assign(operands[0], f"one_nan({flush}({value}))" if "ftz" in parts else value, kind)

    def place(self, opcode: str, kind: str, where: str, count: int = 1) -> str:
        """The C++ that declares `x`, the place in memory of values of a C++ type."""
        name, _, offset = where.partition("+")
        address = f"{self.value(name, 'u64')} + {int(offset or 0)}"
        return f'auto x = place<{kind}, {count}>({address}, {self.line}, "{opcode}");'

    def assign(self, name: str, value: str, kind: str) -> str:
        """The C++ that sets a register to a value of a C++ type; none for `_`."""
        return "" if name == "_" else f"{_cxx(name)} = {_recast(value, kind, self.kind(name))};"

    def value(self, text: str, kind: str) -> str:
        """The C++ of an operand, read as a C++ type."""
        if text[0] == "!":
            return f"!{self.value(text[1:], kind)}"
        if _INTEGER.fullmatch(text):
            return f"{kind}({int(text, 0) % 2**64}ull)"
        if literal := _LITERAL.fullmatch(text):
            source = "u32" if literal[1] else "u64"
            return _recast(f"{source}(0x{literal[1] or literal[2]})", source, kind)
        if text in _SPECIAL:
            return f"{kind}({_SPECIAL[text]})"
        return _recast(_cxx(text), self.kind(text), kind)

    def kind(self, name: str) -> str:
        """The C++ type of a register or an address."""
        if name not in self.kinds:
            raise self.error(f"unknown register or variable {name}")
        return self.kinds[name]
