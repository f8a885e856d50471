// The noise of a vector of curves from sums over their residuals: tsl_jax.fitting.noise.curve_noise.
#pragma once

#include "vector.h"

namespace tsl_jax {

// What is taken for granted of a block's noise: tsl_jax.fitting.noise.Noise.
struct Assumed {
  const float *std, *odds;  // (n)
  const float* scalars;     // mean and variance of the correlation and of the growth
};

// Constants of the method, by the names of tsl_jax.fitting.measures.
struct NoiseMethod {
  int points_a_parameter;
  float most_correlation, growth_variance;
};

TSL_DEVICE inline Vector odds_of(Vector rho) { return (1.0f + rho) / (1.0f - rho); }

struct NoiseSums {
  Vector number{}, squares{}, lagged{}, magnitudes{}, leaned{}, before{};

  // The next residual over the model's standard deviation, 0 where nothing was measured; z from -1 to 1.
  TSL_DEVICE void add(Vector e, Mask measured, float z) {
    const Vector size = abs(e);
    number += measured ? splat(1) : Vector{};
    squares += e * e;
    lagged += before * e;
    magnitudes += size;
    leaned += z * size;
    before = measured ? e : before;
  }
};

struct CurveNoise {
  Vector correlation, deviation, growth, odds;

  TSL_DEVICE CurveNoise(const Assumed& assumed, const NoiseMethod& method, int size, const NoiseSums& sums) {
    const float lag_mean = assumed.scalars[0], lag_variance = assumed.scalars[1];
    const float growth_mean = assumed.scalars[2], growth_variance = assumed.scalars[3];
    const float least = static_cast<float>(method.points_a_parameter * size);
    const Mask known = (sums.number >= least) & (sums.squares > 0.0f) & (sums.magnitudes > 0.0f);
    const Vector n = known ? sums.number : splat(least), part = static_cast<float>(size) / n;
    const Vector left = 1.0f - 2.0f * part;
    const Vector own = (sums.lagged / (known ? sums.squares : splat(1)) + part) / left;
    const Vector about = clip(own, splat(0), splat(method.most_correlation)), rest = 1.0f - about * about;
    const Vector sampling = rest / (n * left * left);
    const Vector weight = known ? lag_variance / (lag_variance + sampling) : Vector{};
    correlation = clip(lag_mean + weight * (own - lag_mean), splat(lag_mean < 0 ? lag_mean : 0),
                       splat(method.most_correlation));
    deviation = sqrt(weight * sampling);
    odds = odds_of(correlation) * ((1 - lag_mean) / (1 + lag_mean));
    const Vector lean = clip(sums.leaned / (known ? sums.magnitudes : splat(1)), splat(-0.9f), splat(0.9f));
    const Vector slope = lean * (3.0f - lean * lean) / (1.0f - lean * lean);
    const Vector sampling_slope = method.growth_variance / n * (1.0f + about * about) / rest;
    const Vector weight_slope = known ? growth_variance / (growth_variance + sampling_slope) : Vector{};
    growth = weight_slope * (slope - growth_mean);
  }
};

}  // namespace tsl_jax
