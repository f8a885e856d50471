// Fits on their way, one curve a lane: a curve goes from start to start, and where it ends the next one takes its lane.
#pragma once

#include "problem.h"
#include "starts.h"

namespace tsl_jax {

// The best curve for every row of a block: tsl_jax.lm.kernel.solve_block.
template <class Family>
class Fits {
  static constexpr int kTheta = Family::kTheta;

 public:
  Fits(const Problem<Family>& problem, const Block& block, const Result& result)
      : problem_(problem), limits_(problem.limits), method_(problem.method), block_(block), result_(result),
        starts_(problem.templates, block), ranks_(std::min(method_.most_starts, problem.templates.runs())),
        projection_(block.x, block.n), rows_(2 * block.n) {}

  void solve() {
    for (int lane = 0; lane < kLanes; ++lane) take(lane);
    while (busy_ > 0) {
      const Mask done = advance(), out = done | given_up();
      if (any(out)) leave(out, done);
    }
  }

 private:
  // The next curve, if there is one; else the lane idles.
  void take(int lane) {
    Candidate& candidate = candidates_[lane];
    if (!starts_.next(&candidate)) {
      candidate.curve = -1;
      return;
    }
    ++busy_;
    load(candidate.curve, lane);
    plateaus_.least[lane] = block_.least[candidate.curve];
    plateaus_.most[lane] = block_.most[candidate.curve];
    spread_[lane] = candidate.spread;
    floor_[lane] = candidate.floor;
    passes_[lane] = 0;
    start(rank_[lane] = 0, lane);
  }

  // A row is worked on as it lies in memory before it is spread over the lanes.
  void load(int curve, int lane) {
    const int n = block_.n;
    const float* loss = block_.loss + static_cast<size_t>(curve) * n;
    const float* weight = block_.weight + static_cast<size_t>(curve) * n;
    float *root_row = rows_.data(), *loss_row = root_row + n;
    for (int i = 0; i < n; ++i) {
      root_row[i] = __builtin_sqrtf(weight[i]);
      loss_row[i] = root_row[i] * loss[i];
    }
    Vector *losses = projection_.loss(), *roots = projection_.root();
    for (int i = 0; i < n; ++i) {
      losses[i][lane] = loss_row[i];
      roots[i][lane] = root_row[i];
    }
  }

  // The first step of a start evaluates it.
  void start(int rank, int lane) {
    const Candidate& candidate = candidates_[lane];
    const float* theta = problem_.grid + static_cast<size_t>(candidate.template_[rank]) * kTheta;
    point_.low[lane] = point_.high[lane] = candidate.mean;
    point_.rss[lane] = kInfinity;
    point_.anchor[lane] = 0;
    for (int k = 0; k < kTheta; ++k) {
      point_.theta[k][lane] = theta[k];
      point_.descent[k][lane] = step_[k][lane] = 0;
      for (int j = 0; j < kTheta; ++j) point_.normal[j][k][lane] = 0;
    }
    first_[lane] = rank == 0 ? -1 : 0;
    damping_[lane] = method_.first_damping;
    steps_[lane] = 0;
    left_in_round_[lane] = method_.steps_a_round;
  }

  // One step for every curve: where it leads, whether that is the end, and the next step.
  Mask advance() {
    Vector theta[kTheta];
    Family::move(point_.anchor, point_.theta, step_, theta);
    for (int k = 0; k < kTheta; ++k) theta[k] = clip(theta[k], limits_.lower[k], limits_.upper[k]);
    const Point<kTheta> trial = projection_.project(theta, point_.low, point_.high, plateaus_);
    const Mask evaluated = point_.rss < kInfinity, better = trial.rss < point_.rss;
    const Mask creeping = evaluated & better & (point_.rss - trial.rss <= method_.tolerance * point_.rss);
    const Mask exhausted = ~better & (damping_ > method_.last_damping);
    damping_ = better ? damping_ * method_.ease : max(damping_, splat(1e-2f)) * method_.tighten;
    damping_ = evaluated ? damping_ : splat(method_.first_damping);
    select(better, trial, &point_);
    Mask frozen[kTheta];
    on_bound(point_, limits_, frozen);
    const Vector possible = possible_gain(point_, frozen);
    const Mask converged = (point_.rss < kInfinity) & (possible <= method_.tolerance * point_.rss + floor_);
    damped_step(point_, damping_, frozen, step_);
    within_room(point_, damping_, limits_, method_.longest_step, step_);
    steps_ += 1;
    passes_ += 1;
    left_in_round_ -= 1;
    return converged | creeping | exhausted;
  }

  // At the end of a round: curves that have had all their steps or do not promise to beat their best fit so far.
  Mask given_up() {
    const Mask round = (left_in_round_ == 0);
    if (!any(round)) return round;
    left_in_round_ = round ? Mask{} + method_.steps_a_round : left_in_round_;
    const Mask unrivalled = first_ | (best_.rss < method_.perfect * spread_);
    const Vector rival_rss = unrivalled ? splat(kInfinity) : best_.rss;
    return round & ((steps_ >= method_.max_steps) | ~promises(point_, best_, rival_rss, limits_, method_));
  }

  // Curves that are `out` of a start go on to their next one or to their end.
  void leave(Mask out, Mask done) {
    const Mask kept = out & (first_ | (done & (point_.rss < best_.rss)));
    select(kept, point_, &best_);
    converged_ = kept ? done : converged_;
    unseen_ = (out & first_) ? unseen(point_, spread_, block_.n, method_) : unseen_;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!out[lane] || candidates_[lane].curve < 0) continue;
      int& rank = rank_[lane];
      do ++rank;
      while (rank < ranks_ && !worth(rank, lane));
      if (rank < ranks_) {
        start(rank, lane);
        continue;
      }
      write(lane);
      --busy_;
      take(lane);
    }
  }

  bool worth(int rank, int lane) const {
    const float rss = best_.rss[lane], spread = spread_[lane];
    if (rank >= method_.starts) return rss < method_.perfect * spread && rss > floor_[lane];
    return unseen_[lane] || spread - candidates_[lane].gain[rank] < method_.promising * rss;
  }

  void write(int lane) const {
    const int curve = candidates_[lane].curve;
    Mask frozen[kTheta];
    on_bound(best_, limits_, frozen);
    auto out = [&](int row, Vector value, Mask held) {
      const size_t at = static_cast<size_t>(row) * result_.curves + curve;
      result_.coefficients[at] = value[lane];
      result_.held[at] = held[lane];
    };
    out(0, best_.low, (best_.low <= plateaus_.least) | (best_.low >= plateaus_.most));
    out(1, best_.high, (best_.high <= plateaus_.least) | (best_.high >= plateaus_.most));
    for (int k = 0; k < kTheta; ++k) out(2 + k, best_.theta[k], frozen[k]);
    result_.converged[curve] = converged_[lane];
    result_.passes[curve] = passes_[lane];
  }

  static void select(Mask where, const Point<kTheta>& from, Point<kTheta>* to) {
    const Vector* in = reinterpret_cast<const Vector*>(&from);
    Vector* out = reinterpret_cast<Vector*>(to);
    for (size_t k = 0; k < sizeof from / sizeof(Vector); ++k) out[k] = where ? in[k] : out[k];
  }

  const Problem<Family>& problem_;
  const Limits<kTheta>& limits_;
  const Method& method_;
  const Block& block_;
  const Result result_;
  Starts starts_;
  const int ranks_;
  Projection<Family> projection_;
  std::vector<float> rows_;

  int busy_ = 0, rank_[kLanes];
  Candidate candidates_[kLanes];
  Bounds plateaus_{};
  Point<kTheta> point_{}, best_{};
  Vector step_[kTheta]{}, damping_{}, spread_{}, floor_{};
  Mask steps_{}, passes_{}, left_in_round_{}, first_{}, unseen_{}, converged_{};
};

}  // namespace tsl_jax
