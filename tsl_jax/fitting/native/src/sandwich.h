// The noise's covariance between the columns of Q: tsl_jax.fitting.residual_noise.sandwiched, one checkpoint at a time.
#pragma once

#include "noise.h"

namespace tsl_jax {

template <int kSize>
class Sandwich {
 public:
  TSL_DEVICE Sandwich(const Assumed& assumed, const CurveNoise& noise, int n)
      : assumed_(assumed), odds_(noise.odds), growing_(exp(-noise.growth)),
        faster_(exp(noise.growth * (2.0f / (n > 1 ? n - 1 : 1)))) {}

  // Checkpoint i: the root of its weight, and its row of Q.
  TSL_DEVICE void add(int i, Vector root, const Vector* q) {
    if (i == 0 || assumed_.odds[i] != assumed_.odds[i - 1]) {
      const Vector odds = assumed_.odds[i] * odds_;
      rho_ = (odds - 1.0f) / (odds + 1.0f);
      fresh_ = 1.0f - rho_ * rho_;
    }
    const Vector std = assumed_.std[i] * growing_;
    growing_ *= faster_;
    variance_ += root > 0.0f ? std * std : Vector{};
    mean_sum_ += fresh_ * carried_mean_ * carried_mean_;
    carried_mean_ = rho_ * carried_mean_ + root * std;
    TSL_UNROLL for (int j = 0; j < kSize; ++j) {
      const Vector part = fresh_ * carried_[j];
      TSL_UNROLL for (int k = j; k < kSize; ++k) sum_[j][k] += part * carried_[k];
    }
    TSL_UNROLL for (int k = 0; k < kSize; ++k) carried_[k] = rho_ * carried_[k] + q[k] * std;
  }

  // Over the noise's mean variance, of so many points; j at most k.
  TSL_DEVICE Vector between(int j, int k, Vector number) const {
    return (sum_[j][k] + carried_[j] * carried_[k]) * unit(number);
  }

  // The variance of the mean, with this sum of weights, over that of as many independent points.
  TSL_DEVICE Vector long_run(Vector total, Vector number) const {
    return total > 0.0f ? (mean_sum_ + carried_mean_ * carried_mean_) * unit(number) / total : splat(1);
  }

 private:
  TSL_DEVICE Vector unit(Vector number) const { return variance_ > 0.0f ? number / variance_ : splat(1); }

  const Assumed assumed_;
  const Vector odds_;
  Vector growing_;
  const Vector faster_;
  Vector sum_[kSize][kSize]{}, carried_[kSize]{}, mean_sum_{}, carried_mean_{}, variance_{}, rho_{}, fresh_{};
};

}  // namespace tsl_jax
