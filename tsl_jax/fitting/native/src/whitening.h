// What a curve explains beyond a constant in whitened losses: tsl_jax.fitting.whitening, one checkpoint at a time.
#pragma once

#include "noise.h"

namespace tsl_jax {

// Constants of the method, by the names of tsl_jax.fitting.whitening.
struct WhiteningMethod {
  float most_whitened, trust_in_growth, rounding;
};

// Takes the noise out of kColumns columns at once.
template <int kColumns>
class Whitening {
 public:
  // With a correlation that is larger than its estimate by `caution` standard deviations of it.
  TSL_DEVICE Whitening(const Assumed& assumed, const NoiseMethod& of_noise, const WhiteningMethod& method,
                       const CurveNoise& noise, float caution, int n)
      : assumed_(assumed), most_(square_root((1 + method.most_whitened) / (1 - method.most_whitened))) {
    const float most = of_noise.most_correlation;
    const Vector careful = clip(noise.correlation + caution * noise.deviation, splat(-most), splat((1 + most) / 2));
    own_root_ = sqrt(noise.odds * odds_of(careful) / odds_of(noise.correlation));
    own_inverse_ = 1.0f / own_root_;
    const Vector growth = method.trust_in_growth * noise.growth;
    unit_ = exp(growth);
    slower_ = exp(growth * (-2.0f / (n > 1 ? n - 1 : 1)));
  }

  // Checkpoint i: where it was measured, and whether everywhere; the columns' rows times the root of its weight, in whose
  // place those of the whitened columns come.
  TSL_DEVICE void add(int i, Mask measured, bool everywhere, Vector* rows) {
    const bool other = i == 0 || assumed_.odds[i] != assumed_.odds[i - 1];
    if (other) {
      const float along = square_root(assumed_.odds[i]);
      root_of_odds_ = min(along * own_root_, splat(most_));
      inverse_root_ = max((1.0f / along) * own_inverse_, splat(1.0f / most_));
    }
    if (other || gap_ || gap_before_) {
      // With s² the odds (1 + ρ)/(1 - ρ): 1/√(1 - ρ²) = (s + 1/s)/2 and ρ/√(1 - ρ²) = (s - 1/s)/2.
      scale_ = 0.5f * (root_of_odds_ + inverse_root_), lead_ = 0.5f * (root_of_odds_ - inverse_root_);
      if (gap_) {  // of a curve, whose bits are not to depend on those beside it
        const Mask across = reach_ != 1.0f;
        const Vector link = reach_ * lead_ / scale_, scale = 1.0f / sqrt(1.0f - link * link);
        scale_ = across ? scale : scale_, lead_ = across ? link * scale : lead_;
      }
    }
    const Vector unit = unit_ * (1.0f / assumed_.std[i]);
    unit_ *= slower_;
    TSL_UNROLL for (int k = 0; k < kColumns; ++k) {
      const Vector now = rows[k] * unit, white = scale_ * now - lead_ * before_[k];
      rows[k] = everywhere ? white : measured ? white : Vector{};
      before_[k] = everywhere ? now : measured ? now : before_[k];
    }
    if (gap_ || !everywhere) reach_ = measured ? splat(1) : lead_ / scale_;
    gap_before_ = gap_, gap_ = !everywhere;
  }

 private:
  const Assumed assumed_;
  const float most_;
  Vector own_root_, own_inverse_, unit_, slower_;  // the unit: one over how far the standard deviation has grown
  Vector root_of_odds_{}, inverse_root_{}, scale_{}, lead_{}, reach_{};
  bool gap_ = true, gap_before_ = false;  // of some curve before this checkpoint, or the first; before the last one
  Vector before_[kColumns]{};
};

// Sums over whitened losses (around their mean), constant and residuals.
struct EventSums {
  Vector rss{}, crossed{}, constants{};

  TSL_DEVICE void add(const Vector* white) {
    rss += white[2] * white[2];
    crossed += white[0] * white[1];
    constants += white[1] * white[1];
  }

  // The best constant beside the mean.
  TSL_DEVICE Vector level() const { return crossed / (constants > 0.0f ? constants : splat(1)); }
};

// By how much the curve lowers the sum of squares below that of the best constant, without the two neighbouring
// checkpoints that say most.
class EventGain {
 public:
  // Of the best constant for all checkpoints.
  TSL_DEVICE EventGain(const WhiteningMethod& method, const EventSums& all)
      : counted_(1 - method.rounding * kEps), level_(all.level()), constants_(all.constants) {}

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
