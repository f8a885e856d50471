// Vectors of curves, one curve a lane, and arithmetic with them.
#pragma once

#ifdef __CUDACC__
#include "simt.h"
#else
#include "simd.h"
#endif

namespace tsl_jax {

inline constexpr float kEps = 0x1p-23f, kTiny = 0x1p-126f, kInfinity = __builtin_inff();

TSL_DEVICE constexpr int min(int a, int b) { return a < b ? a : b; }
TSL_DEVICE inline Vector clip(Vector a, Vector least, Vector most) { return min(max(a, least), most); }
TSL_DEVICE inline Vector abs(Vector a) { return with_bits(bits(a) & 0x7fffffffu); }

// `value` kept away from zero, relative to `scale`, so that it can be divided by.
TSL_DEVICE inline Vector positive(Vector value, Vector scale) { return max(value, kEps * scale + kTiny); }

// exp(x) = scale * (1 + rest) for x in [-87, 88], by x = n ln 2 + r and the Taylor series of exp(r) - 1.
struct Exponential {
  Vector scale, rest;

  TSL_DEVICE explicit Exponential(Vector x) {
    constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, kept in the last bits
    const Vector shifted = x * 1.44269504f + kShift;
    const Vector n = shifted - kShift;
    const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first with few bits
    const Vector series =
        ((((r * (1.0f / 5040) + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6) * r + 0.5f;
    rest = r + r * r * series;
    scale = with_bits((bits(shifted) << 23) + (127u << 23));
  }

  TSL_DEVICE Vector value() const { return scale + scale * rest; }
  TSL_DEVICE Vector minus_one() const { return (scale - 1.0f) + scale * rest; }
};

#ifdef __CUDACC__
// To rounding of the argument, which that of a logit is no better than.
TSL_DEVICE inline Vector exp_of_logit(Vector x) { return exp2_unit(x * 1.44269504f); }
#else
inline Vector exp_of_logit(Vector x) { return Exponential(x).value(); }
#endif

TSL_DEVICE inline Vector exp(Vector x) { return Exponential(clip(x, splat(-87.0f), splat(88.0f))).value(); }

}  // namespace tsl_jax
