// Levenberg-Marquardt for a vector of curves: formulas and names are those of tsl_jax.fitting.xla.steps.
#pragma once

#include "projection.h"

namespace tsl_jax {

// Constants of the method, handed over from tsl_jax.fitting.xla, where each is explained.
struct Method {
  int steps_a_round, max_steps, starts, most_starts;
  float first_damping, failed_damping, ease, tighten, last_damping, barely_seen, clear, promising, same_rise, same_rss, perfect,
      longest_step, tolerance;
};

template <int kTheta>
struct Limits {
  Vector lower[kTheta], upper[kTheta];
};

template <int kTheta>
TSL_DEVICE void on_bound(const Point<kTheta>& p, const Limits<kTheta>& limits, Mask* out) {
  for (int k = 0; k < kTheta; ++k)
    out[k] = ((p.theta[k] <= limits.lower[k]) & (p.negative_half_gradient[k] <= 0.0f)) |
             ((p.theta[k] >= limits.upper[k]) & (p.negative_half_gradient[k] >= 0.0f));
}

// Solve (H + damping diag H) step = -gradient / 2 for the components that are not active, by elimination.
template <int kTheta>
TSL_DEVICE void damped_step(const Point<kTheta>& p, Vector damping, const Mask* active, Vector* step) {
  Vector h[kTheta][kTheta], rhs[kTheta], smallest[kTheta];
  for (int i = 0; i < kTheta; ++i) {
    for (int j = 0; j < kTheta; ++j) h[i][j] = (active[i] | active[j]) ? Vector{} : p.normal[i][j];
    rhs[i] = active[i] ? Vector{} : p.negative_half_gradient[i];
    smallest[i] = kEps * p.normal[i][i] + kTiny;
    h[i][i] = active[i] ? splat(1) : h[i][i] * (1.0f + damping) + kTiny;
  }
  for (int i = 0; i < kTheta; ++i) {
    h[i][i] = max(h[i][i], smallest[i]);
    for (int j = i + 1; j < kTheta; ++j) {
      const Vector factor = h[j][i] / h[i][i];
      rhs[j] -= factor * rhs[i];
      for (int k = i + 1; k < kTheta; ++k) h[j][k] -= factor * h[i][k];
    }
  }
  for (int i = kTheta - 1; i >= 0; --i) {
    Vector known{};
    for (int k = i + 1; k < kTheta; ++k) known += h[i][k] * step[k];
    step[i] = (rhs[i] - known) / h[i][i];
  }
}

// How much the quadratic model without damping predicts that the rss falls.
template <int kTheta>
TSL_DEVICE Vector predicted_reduction(const Point<kTheta>& p, const Mask* active) {
  Vector newton[kTheta], predicted{};
  damped_step(p, Vector{}, active, newton);
  for (int k = 0; k < kTheta; ++k) predicted += active[k] ? Vector{} : p.negative_half_gradient[k] * newton[k];
  return predicted;
}

// Cut the step to its greatest length and to the bounds; components that are not cut follow the ones that are.
template <int kTheta>
TSL_DEVICE void within_room(const Point<kTheta>& p, Vector damping, const Limits<kTheta>& limits,
                            float longest_fraction, Vector* step) {
  Vector least[kTheta], most[kTheta], cut_step[kTheta];
  Mask cut[kTheta], any_cut{};
  for (int k = 0; k < kTheta; ++k) {
    const Vector longest = longest_fraction * (limits.upper[k] - limits.lower[k]);
    least[k] = max(limits.lower[k] - p.theta[k], -longest);
    most[k] = min(limits.upper[k] - p.theta[k], longest);
    cut_step[k] = clip(step[k], least[k], most[k]);
    cut[k] = cut_step[k] != step[k];
    any_cut |= cut[k];
  }
  for (int k = 0; k < kTheta; ++k) {
    if (kTheta == 1) {
      step[k] = cut_step[k];
      continue;
    }
    Vector coupled{};
    for (int j = 0; j < kTheta; ++j)
      if (j != k) coupled += p.normal[k][j] * cut_step[j];
    const Vector diagonal = max(p.normal[k][k] * (1.0f + damping), splat(kTiny));
    const Vector follow = clip((p.negative_half_gradient[k] - coupled) / diagonal, least[k], most[k]);
    step[k] = (cut[k] | negated(any_cut) | (step[k] == 0.0f)) ? cut_step[k] : follow;
  }
}

// Whether a point's quadratic model reaches below its rival's rss (infinite if it has no rival), from another valley
// than the rival's own.
template <int kTheta>
TSL_DEVICE Mask may_win(const Point<kTheta>& p, const Point<kTheta>& rival, Vector rival_rss,
                         const Limits<kTheta>& limits, const Method& method) {
  Mask active[kTheta];
  on_bound(p, limits, active);
  const Mask below = p.rss - predicted_reduction(p, active) < rival_rss;
  Vector rise{};
  for (int i = 0; i < kTheta; ++i) {
    Vector along{};
    for (int j = 0; j < kTheta; ++j) along += rival.normal[i][j] * (p.theta[j] - rival.theta[j]);
    rise += (p.theta[i] - rival.theta[i]) * along;
  }
  const Mask same = abs(p.rss - rival_rss - rise) < method.same_rise * rise + method.same_rss * rival_rss;
  return below & negated(same);
}

// Whether a plateau, or a transition that is clear, has hardly a checkpoint: `doubts` of tsl_jax.fitting.xla.kernel.
template <int kTheta>
TSL_DEVICE Mask unseen(const Point<kTheta>& p, Vector tss, int checkpoints, const Method& method) {
  const float n = static_cast<float>(checkpoints);
  const Vector total = p.on_low + p.on_high, per_point = n / max(total, splat(1e-30f));
  const Mask plateau_unseen = min(p.on_low, p.on_high) * per_point < method.barely_seen;
  const Mask transition_unseen = (4.0f * p.between * per_point < method.barely_seen) & (p.rss < method.clear * tss);
  return (total > 0.0f) & (plateau_unseen | transition_unseen);
}

}  // namespace tsl_jax
