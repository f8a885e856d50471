// Vectors of curves on a CPU: as wide as a register of the processor.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __AVX__
#include <immintrin.h>
#endif

#define TSL_DEVICE  // functions that a GPU can run
#define TSL_INLINE __attribute__((always_inline)) inline
#define TSL_UNROLL  // loops that a GPU's compiler would leave loops, and arrays so in slow memory

namespace tsl_jax {

#if defined(__AVX512F__)
inline constexpr int kBytes = 64;
#elif defined(__AVX__)
inline constexpr int kBytes = 32;
#else
inline constexpr int kBytes = 16;
#endif
inline constexpr int kLanes = kBytes / 4;
inline constexpr int kStride = 1;  // from vector to vector in memory
inline constexpr int kWide = 2;  // vectors of curves for which a template is loaded once
inline constexpr int kGroup = 4;   // templates that are worked on together
inline constexpr bool kKeeps = true;  // whether a pass over the losses keeps what the next one needs

typedef float Vector __attribute__((vector_size(kBytes)));
typedef int32_t Integers __attribute__((vector_size(kBytes)));
typedef uint32_t Bits __attribute__((vector_size(kBytes)));
typedef Integers Mask;  // -1 where true, 0 elsewhere
inline constexpr int32_t kTrue = -1;

inline Vector splat(float value) { return value - Vector{}; }  // (+ 0 would be computed: it changes -0)
inline Integers integers(int32_t value) { return value - Integers{}; }
inline Mask negated(Mask mask) { return ~mask; }
inline Bits bits(Vector a) { return (Bits)a; }
inline Vector with_bits(Bits a) { return (Vector)a; }
inline Vector reciprocal(Vector a) { return 1.0f / a; }

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

inline float square_root(float a) { return __builtin_sqrtf(a); }
inline Vector sqrt(Vector a) {
  for (int lane = 0; lane < kLanes; ++lane) a[lane] = square_root(a[lane]);
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

// The one of n increasing numbers that is nearest to `a`; of two, the lesser.
inline Vector nearest(const float* x, int n, Vector a) {
  Vector nearest = splat(x[0]);
  for (int i = 1; i < n; ++i) nearest = a > (x[i] + x[i - 1]) / 2 ? splat(x[i]) : nearest;
  return nearest;
}

// One curve's number.
inline float& at(Vector& vector, int lane) { return reinterpret_cast<float*>(&vector)[lane]; }
inline int32_t& at(Integers& vector, int lane) { return reinterpret_cast<int32_t*>(&vector)[lane]; }
inline float at(const Vector& vector, int lane) { return vector[lane]; }
inline int32_t at(const Integers& vector, int lane) { return vector[lane]; }

// GCC reads a value from memory again for each product with it, which so takes twice as long.
inline Vector in_register(Vector value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value));
#endif
  return value;
}

// The numbers of neighbouring templates at a checkpoint, which products take from memory.
struct Neighbours {
  const float* from;

  explicit Neighbours(const float* from_) : from(from_) {}
  float operator[](int k) const { return from[k]; }
};

// Asks for the memory at `from` before it is needed. (GCC drops calls that only do this, unless they are inlined.)
TSL_INLINE void fetch(const float* from) { __builtin_prefetch(from); }

inline Vector load(const float* from) {
  Vector out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

// Swaps the blocks of kStep lanes off the diagonal between two rows of a square.
template <int kStep, int... kLane>
void swap_blocks(Vector& a, Vector& b, std::integer_sequence<int, kLane...>) {
#ifdef __clang__  // which GCC has from version 12 on
  const Vector first = __builtin_shufflevector(a, b, (kLane & kStep ? kLane + kLanes - kStep : kLane)...);
  b = __builtin_shufflevector(a, b, (kLane & kStep ? kLane + kLanes : kLane + kStep)...);
#else
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

}  // namespace tsl_jax
