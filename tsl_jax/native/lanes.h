// Fits on their way: a vector of curves that is always full.
#pragma once

#include "points.h"
#include "steps.h"

namespace tsl_jax {

// A curve, where it starts and what is known of it.
struct Job {
  int curve;
  const float* theta;
  float mean, floor;
};

// Curves on their way to the end, one a lane: where one leaves, the next takes its place.
template <class Family>
class Lanes {
  static constexpr int kTheta = Family::kTheta;

 public:
  Lanes(const Block& block, const Limits<kTheta>& limits, const Method& method)
      : block_(block), limits_(limits), method_(method), loss_(block.n), root_(block.n),
        scratch_(static_cast<size_t>(block.n) * (2 + kTheta)), rows_(2 * block.n) {}

  // `rival(curve, point, lane)` sets the point to beat, if there is one; `leave(curve, point, lane, done)` is told of
  // each end.
  template <class Rival, class Leave>
  void run(const std::vector<Job>& queue, Rival rival, Leave leave) {
    auto next = queue.begin();
    int busy = 0, curve[kLanes];
    auto take = [&](int lane) {
      curve[lane] = -1;
      if (next == queue.end()) return;
      curve[lane] = next->curve;
      enter(*next, lane);
      if (!rival(next->curve, &rival_, lane)) rival_.rss[lane] = kInfinity;
      ++next, ++busy;
    };
    for (int lane = 0; lane < kLanes; ++lane) {
      take(lane);
      if (curve[lane] < 0 && lane > 0) copy(0, lane);
    }
    while (busy > 0) {
      const Mask done = advance(), out = done | given_up();
      if (!any(out)) continue;
      for (int lane = 0; lane < kLanes; ++lane) {
        if (!out[lane] || curve[lane] < 0) continue;
        leave(curve[lane], point_, lane, done[lane] != 0);
        --busy;
        take(lane);
      }
    }
  }

 private:
  void enter(const Job& job, int lane) {
    load(job.curve, lane);
    plateaus_.least[lane] = block_.least[job.curve];
    plateaus_.most[lane] = block_.most[job.curve];
    floor_[lane] = job.floor;
    point_.low[lane] = point_.high[lane] = job.mean;
    point_.rss[lane] = kInfinity;
    point_.anchor[lane] = 0;
    for (int k = 0; k < kTheta; ++k) {
      point_.theta[k][lane] = job.theta[k];
      point_.descent[k][lane] = step_[k][lane] = 0;
      for (int j = 0; j < kTheta; ++j) point_.normal[j][k][lane] = 0;
    }
    damping_[lane] = method_.first_damping;
    steps_[lane] = 0;
    left_in_round_[lane] = method_.steps_a_round;
  }

  // A row is worked on as it lies in memory before it is spread over lanes.
  void load(int curve, int lane) {
    const int n = block_.n;
    const float* loss = block_.loss + static_cast<size_t>(curve) * n;
    const float* weight = block_.weight + static_cast<size_t>(curve) * n;
    float *root_row = rows_.data(), *loss_row = root_row + n;
    for (int i = 0; i < n; ++i) {
      root_row[i] = __builtin_sqrtf(weight[i]);
      loss_row[i] = root_row[i] * loss[i];
    }
    for (int i = 0; i < n; ++i) {
      loss_[i][lane] = loss_row[i];
      root_[i][lane] = root_row[i];
    }
  }

  // At the end of a round: curves that have had all their steps or do not promise to beat their rivals.
  Mask given_up() {
    const Mask round = (left_in_round_ == 0);
    if (!any(round)) return round;
    left_in_round_ = round ? Mask{} + method_.steps_a_round : left_in_round_;
    return round & ((steps_ >= method_.max_steps) | ~promises(point_, rival_, limits_, method_));
  }

  // Lane `to` repeats lane `from`, so that there is something to compute.
  void copy(int from, int to) {
    for (int i = 0; i < block_.n; ++i) loss_[i][to] = loss_[i][from], root_[i][to] = root_[i][from];
  }

  // One step for every curve: where it leads, whether that is the end, and the next step.
  Mask advance() {
    Vector theta[kTheta];
    Family::move(point_.anchor, point_.theta, step_, theta);
    for (int k = 0; k < kTheta; ++k) theta[k] = clip(theta[k], limits_.lower[k], limits_.upper[k]);
    const Point<kTheta> trial = project<Family>(block_.x, block_.n, loss_.data(), root_.data(), plateaus_, theta,
                                                point_.low, point_.high, scratch_.data());
    const Mask evaluated = point_.rss < kInfinity, better = trial.rss < point_.rss;
    const Mask creeping = evaluated & better & (point_.rss - trial.rss <= method_.tolerance * point_.rss);
    const Mask exhausted = ~better & (damping_ > method_.last_damping);
    damping_ = better ? damping_ * method_.ease : max(damping_, splat(1e-2f)) * method_.tighten;
    damping_ = evaluated ? damping_ : splat(method_.first_damping);
    select(better, trial);
    Mask frozen[kTheta];
    on_bound(point_, limits_, frozen);
    const Vector possible = possible_gain(point_, frozen);
    const Mask converged = (point_.rss < kInfinity) & (possible <= method_.tolerance * point_.rss + floor_);
    damped_step(point_, damping_, frozen, step_);
    within_room(point_, damping_, limits_, method_.longest_step, step_);
    steps_ += 1;
    left_in_round_ -= 1;
    return converged | creeping | exhausted;
  }

  void select(Mask where, const Point<kTheta>& trial) {
    const Vector* in = reinterpret_cast<const Vector*>(&trial);
    Vector* out = reinterpret_cast<Vector*>(&point_);
    for (int k = 0; k < Points<kTheta>::kFields; ++k) out[k] = where ? in[k] : out[k];
  }

  const Block& block_;
  const Limits<kTheta>& limits_;
  const Method& method_;
  Columns loss_, root_, scratch_;
  std::vector<float> rows_;
  Bounds plateaus_{};
  Point<kTheta> point_{}, rival_{};
  Vector step_[kTheta]{}, damping_{}, floor_{};
  Mask steps_{}, left_in_round_{};
};

}  // namespace tsl_jax
