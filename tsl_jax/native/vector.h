// Vectors of curves: one curve a lane, as wide as a register of the processor.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __AVX__
#include <immintrin.h>
#endif

namespace tsl_jax {

#if defined(__AVX512F__)
inline constexpr int kBytes = 64;
#elif defined(__AVX__)
inline constexpr int kBytes = 32;
#else
inline constexpr int kBytes = 16;
#endif
inline constexpr int kLanes = kBytes / 4;

typedef float Vector __attribute__((vector_size(kBytes)));
typedef int32_t Mask __attribute__((vector_size(kBytes)));  // -1 where true, 0 elsewhere

inline constexpr float kEps = 0x1p-23f, kTiny = 0x1p-126f, kInfinity = __builtin_inff();

inline Vector splat(float value) { return value - Vector{}; }  // (+ 0 would be computed: it changes -0)

// As compare and select they would take twice as long where one side is a constant (GCC 12).
#if defined(__AVX512F__)
inline Vector min(Vector a, Vector b) { return (Vector)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b); }
inline Vector max(Vector a, Vector b) { return (Vector)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b); }
#elif defined(__AVX__)
inline Vector min(Vector a, Vector b) { return (Vector)_mm256_min_ps((__m256)a, (__m256)b); }
inline Vector max(Vector a, Vector b) { return (Vector)_mm256_max_ps((__m256)a, (__m256)b); }
#else
inline Vector min(Vector a, Vector b) { return a < b ? a : b; }
inline Vector max(Vector a, Vector b) { return a > b ? a : b; }
#endif
inline Vector clip(Vector a, Vector least, Vector most) { return min(max(a, least), most); }
inline Vector abs(Vector a) { return (Vector)((Mask)a & 0x7fffffff); }

inline Vector sqrt(Vector a) {
  for (int lane = 0; lane < kLanes; ++lane) a[lane] = __builtin_sqrtf(a[lane]);
  return a;
}

inline bool any(Mask mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
  int32_t found = 0;
  for (int lane = 0; lane < kLanes; ++lane) found |= mask[lane];
  return found != 0;
#endif
}

// `value` kept away from zero, relative to `scale`, so that it can be divided by.
inline Vector positive(Vector value, Vector scale) { return max(value, kEps * scale + kTiny); }

// GCC reads a value from memory again for each product with it, which so takes twice as long.
inline Vector in_register(Vector value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value));
#endif
  return value;
}

inline Vector load(const float* from) {
  Vector out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

// Swaps the blocks of kStep lanes off the diagonal between two rows of a square.
template <int kStep, int... kLane>
void swap_blocks(Vector& a, Vector& b, std::integer_sequence<int, kLane...>) {
#ifdef __clang__
  const Vector first = __builtin_shufflevector(a, b, (kLane & kStep ? kLane + kLanes - kStep : kLane)...);
  b = __builtin_shufflevector(a, b, (kLane & kStep ? kLane + kLanes : kLane + kStep)...);
#else  // which GCC has from version 12 on
  const Vector first = __builtin_shuffle(a, b, Mask{(kLane & kStep ? kLane + kLanes - kStep : kLane)...});
  b = __builtin_shuffle(a, b, Mask{(kLane & kStep ? kLane + kLanes : kLane + kStep)...});
#endif
  a = first;
}

// Lane i of rows[j] becomes lane j of rows[i].
template <int kStep = 1>
void transpose(Vector* rows) {
  if constexpr (kStep < kLanes) {
    for (int i = 0; i < kLanes; ++i)
      if (!(i & kStep)) swap_blocks<kStep>(rows[i], rows[i + kStep], std::make_integer_sequence<int, kLanes>());
    transpose<2 * kStep>(rows);
  }
}

// exp(x) = scale * (1 + rest) for x in [-87, 88], by x = n ln 2 + r and the Taylor series of exp(r) - 1.
struct Exponential {
  Vector scale, rest;

  explicit Exponential(Vector x) {
    constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, kept in the last bits
    const Vector shifted = x * 1.44269504f + kShift;
    const Vector n = shifted - kShift;
    const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first with few bits
    const Vector series =
        ((((r * (1.0f / 5040) + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6) * r + 0.5f;
    rest = r + r * r * series;
    scale = (Vector)(((Mask)shifted << 23) + (127 << 23));
  }

  Vector value() const { return scale + scale * rest; }
  Vector minus_one() const { return (scale - 1.0f) + scale * rest; }
};

inline Vector exp(Vector x) { return Exponential(clip(x, splat(-87.0f), splat(88.0f))).value(); }

}  // namespace tsl_jax
