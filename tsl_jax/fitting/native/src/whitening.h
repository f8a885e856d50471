// What a curve explains beyond a constant in whitened losses: tsl_jax.fitting.measures.whitened, one checkpoint at a time.
#pragma once

#include "noise.h"

namespace tsl_jax {

// Constants of the method, by the names of tsl_jax.fitting.measures.
struct WhiteningMethod {
  float caution, most_whitened, trust_in_growth, rounding;
};

class Whitening {
 public:
  TSL_DEVICE Whitening(const Assumed& assumed, const NoiseMethod& of_noise, const WhiteningMethod& method,
                       const CurveNoise& noise, int n)
      : assumed_(assumed), most_(method.most_whitened) {
    const float most = of_noise.most_correlation;
    const Vector careful =
        clip(noise.correlation + method.caution * noise.deviation, splat(-most), splat((1 + most) / 2));
    odds_ = noise.odds * odds_of(careful) / odds_of(noise.correlation);
    const Vector growth = method.trust_in_growth * noise.growth;
    unit_ = exp(growth);
    slower_ = exp(growth * (-2.0f / (n > 1 ? n - 1 : 1)));
  }

  // Checkpoint i: the root of its weight (0 where nothing was measured), and times it the loss less the mean and the
  // residual. Puts the losses, the constant and the residuals there, whitened.
  TSL_DEVICE void add(int i, Vector root, Vector apart, Vector residual, Vector* white) {
    const bool other = i == 0 || assumed_.odds[i] != assumed_.odds[i - 1];
    if (other) {
      const Vector odds = assumed_.odds[i] * odds_;
      rho_ = min((odds - 1.0f) / (odds + 1.0f), splat(most_));
    }
    const bool gap = any(reach_ != 1.0f);  // before this checkpoint, or before the first
    if (other || gap || gap_before_) {
      link_ = rho_ * reach_;
      scale_ = 1.0f / sqrt(1.0f - link_ * link_);
    }
    const Vector unit = unit_ * (1.0f / assumed_.std[i]);
    unit_ *= slower_;
    const Mask measured = root > 0.0f;
    const Vector now[3] = {apart * unit, root * unit, residual * unit};
    TSL_UNROLL for (int k = 0; k < 3; ++k) {
      white[k] = measured ? scale_ * (now[k] - link_ * before_[k]) : Vector{};
      before_[k] = measured ? now[k] : before_[k];
    }
    gap_before_ = gap;
    reach_ = measured ? splat(1) : link_;
    rss_ += white[2] * white[2];
    crossed_ += white[0] * white[1];
    constants_ += white[1] * white[1];
  }

  TSL_DEVICE Vector rss() const { return rss_; }
  TSL_DEVICE Vector constants() const { return constants_; }
  // The best constant beside the mean.
  TSL_DEVICE Vector level() const { return crossed_ / (constants_ > 0.0f ? constants_ : splat(1)); }

 private:
  const Assumed assumed_;
  const float most_;
  Vector odds_, unit_, slower_;  // the unit: one over how far the standard deviation has grown
  Vector rho_{}, link_{}, scale_{}, reach_{};
  bool gap_before_ = false;
  Vector before_[3]{}, rss_{}, crossed_{}, constants_{};
};

// By how much the curve lowers the sum of squares below that of the best constant, without the two neighbouring
// checkpoints that say most.
class WhiteGain {
 public:
  // Of the best constant for all checkpoints.
  TSL_DEVICE WhiteGain(const WhiteningMethod& method, const Whitening& all)
      : counted_(1 - method.rounding * kEps), level_(all.level()), constants_(all.constants()) {}

  TSL_DEVICE void add(Vector loss, Vector constant, Vector residual) {
    const Vector apart = loss - level_ * constant;
    const Vector gain = apart * apart - residual * residual, moved = apart * constant, taken = constant * constant;
    const Mask with_last = last_[0] > 0.0f;
    const Vector pair = gain + (with_last ? last_[0] : Vector{});
    const Mask better = pair > most_;
    most_ = better ? pair : most_;
    moved_ = better ? moved + (with_last ? last_[1] : Vector{}) : moved_;
    taken_ = better ? taken + (with_last ? last_[2] : Vector{}) : taken_;
    sum_ += gain;
    last_[0] = gain, last_[1] = moved, last_[2] = taken;
  }

  TSL_DEVICE Vector value() const {
    const Vector kept = constants_ - taken_;
    const Vector level = kept > 0.0f ? moved_ * moved_ / (kept > 0.0f ? kept : splat(1)) : Vector{};
    return max(counted_ * sum_ - most_ - level, splat(0));
  }

 private:
  const float counted_;
  const Vector level_, constants_;
  Vector sum_{}, most_{}, moved_{}, taken_{}, last_[3]{};
};

}  // namespace tsl_jax
