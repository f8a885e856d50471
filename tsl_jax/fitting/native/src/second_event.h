// A step beside a curve, as a second event would be: tsl_jax.fitting.whitening.best_step and second_gain.
#pragma once

#include "whitening.h"

namespace tsl_jax {

// Constants of the method, by the names of tsl_jax.fitting.whitening.
struct StepMethod {
  int parameters;
  float least;
};

// The step between two checkpoints that lowers the rss most, in what the kSize columns of the curve leave of it.
template <int kSize>
class BestStep {
 public:
  // Of curves with these sums of weights and numbers of points.
  TSL_DEVICE BestStep(const StepMethod& method, Vector total, Vector number)
      : fewest_(method.least * total / max(number, splat(1))) {}

  // Checkpoint i: the root of its weight, times it the residual, and its row of Q.
  TSL_DEVICE void add(int i, Vector root, Vector residual, const Vector* q) {
    Vector left = square_ += root * root;
    TSL_UNROLL for (int k = 0; k < kSize; ++k) {
      passed_[k] += root * q[k];
      left -= passed_[k] * passed_[k];
    }
    along_ += root * residual;
    const Mask better = (left >= fewest_) & (along_ * along_ * best_left_ > best_along_ * best_along_ * left);
    best_along_ = better ? along_ : best_along_;
    best_left_ = better ? left : best_left_;
    last_ = better ? splat(static_cast<float>(i)) : last_;
    TSL_UNROLL for (int k = 0; k < kSize; ++k) best_passed_[k] = better ? passed_[k] : best_passed_[k];
  }

  TSL_DEVICE Vector height() const { return best_along_ / best_left_; }

  // The row of checkpoint i of the step's column, times the root of its weight; all 0 where there is no step.
  TSL_DEVICE Vector column(int i, Vector root, const Vector* q) const {
    Vector row = last_ >= static_cast<float>(i) ? root : Vector{};
    TSL_UNROLL for (int k = 0; k < kSize; ++k) row -= best_passed_[k] * q[k];
    return row;
  }

 private:
  const Vector fewest_;
  Vector along_{}, square_{}, passed_[kSize]{};
  Vector best_along_{}, best_left_ = splat(1), best_passed_[kSize]{}, last_ = splat(-1);
};

// Sums over whitened residuals and the whitened column of the step.
struct StepSums {
  Vector residuals{}, crossed{}, columns{};

  TSL_DEVICE void add(const Vector* white) {
    residuals += white[0] * white[0];
    crossed += white[0] * white[1];
    columns += white[1] * white[1];
  }
};

// By how much the step lowers the sum of squares, without the two neighbouring checkpoints that say most.
class StepGain {
 public:
  TSL_DEVICE StepGain(const WhiteningMethod& method, const StepSums& sums)
      : counted_(1 - method.rounding * kEps),
        height_(sums.crossed / (sums.columns > 0.0f ? sums.columns : splat(1))),
        whole_(height_ * height_ * sums.columns) {}

  TSL_DEVICE void add(Vector residual, Vector column) {
    const Vector explained = height_ * column, rest = residual - explained;
    const Vector gain = explained * (residual + rest);
    most_ = max(most_, gain + max(last_, splat(0)));
    last_ = gain;
    rss_ += rest * rest;
  }

  TSL_DEVICE Vector rss() const { return rss_; }
  TSL_DEVICE Vector value() const { return max(counted_ * whole_ - most_, splat(0)); }

 private:
  const float counted_;
  const Vector height_, whole_;
  Vector most_{}, last_{}, rss_{};
};

}  // namespace tsl_jax
