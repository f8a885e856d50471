// Vectors of curves on a GPU: one curve, for each thread has its own.
#pragma once

#include <cstdint>

#define TSL_DEVICE __device__
#define TSL_INLINE __forceinline__
#define TSL_UNROLL _Pragma("unroll")

namespace tsl_jax {

inline constexpr int kLanes = 1;
inline constexpr int kWide = TSL_WIDE;  // curves for which a template is loaded once
inline constexpr int kStride = 32;  // threads of a warp have their numbers side by side in memory
inline constexpr int kGroup = 8;    // templates that are worked on together
inline constexpr bool kKeeps = false;  // whether a pass over the losses keeps what the next one needs

typedef float Vector;
typedef int32_t Integers;
typedef uint32_t Bits;
typedef bool Mask;
inline constexpr bool kTrue = true;

TSL_DEVICE inline Vector splat(float value) { return value; }
TSL_DEVICE inline Integers integers(int32_t value) { return value; }
TSL_DEVICE inline Mask negated(Mask mask) { return !mask; }
TSL_DEVICE inline Bits bits(Vector a) { return __float_as_uint(a); }
TSL_DEVICE inline Vector with_bits(Bits a) { return __uint_as_float(a); }
TSL_DEVICE inline Vector min(Vector a, Vector b) { return fminf(a, b); }
TSL_DEVICE inline Vector max(Vector a, Vector b) { return fmaxf(a, b); }
TSL_DEVICE inline bool any(Mask mask) { return mask; }
TSL_DEVICE inline Vector in_register(Vector value) { return value; }
TSL_DEVICE inline void fetch(const float*) {}  // other threads work until what is needed comes

// These are to one or two units in the last place, of numbers that are neither tiny nor huge.
TSL_DEVICE inline Vector reciprocal(Vector a) {
  Vector out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(a));
  return out;
}

TSL_DEVICE inline float square_root(float a) {
  float out;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(a));
  return out;
}
TSL_DEVICE inline Vector sqrt(Vector a) { return square_root(a); }

TSL_DEVICE inline Vector exp2_unit(Vector a) {
  Vector out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(a));
  return out;
}

// The one of n increasing numbers that is nearest to `a`; of two, the lesser.
TSL_DEVICE inline Vector nearest(const float* x, int n, Vector a) {
  int at = 0;
  for (int end = n; end - at > 1;) {
    const int middle = (at + end) / 2;
    if (a > (x[middle] + x[middle - 1]) / 2) at = middle;
    else end = middle;
  }
  return x[at];
}

// The numbers of neighbouring templates at a checkpoint, read four at a time.
struct Neighbours {
  float4 fours[kGroup / 4];

  TSL_DEVICE explicit Neighbours(const float* from) {
    for (int k = 0; k < kGroup / 4; ++k) fours[k] = reinterpret_cast<const float4*>(from)[k];
  }
  TSL_DEVICE float operator[](int k) const {
    const float4& four = fours[k / 4];
    return k % 4 == 0 ? four.x : k % 4 == 1 ? four.y : k % 4 == 2 ? four.z : four.w;
  }
};

template <class Value>
TSL_DEVICE Value& at(Value& vector, int) {
  return vector;
}

}  // namespace tsl_jax
