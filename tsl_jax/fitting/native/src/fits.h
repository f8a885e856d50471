// Fits on their way, one curve a lane: a curve goes from start to start, and where it ends the next one takes its lane.
#pragma once

#include "problem.h"

namespace tsl_jax {

// The best curve for every row of a block: tsl_jax.fitting.xla.kernel.solve_block.
//
// `Source` hands over one curve after the other, a `Source::Candidate` with its starts: see starts.h.
template <class Family, class Source>
class Fits {
  static constexpr int kTheta = Family::kTheta;

 public:
  static int memory(int n) { return Projection<Family>::memory(n); }

  TSL_DEVICE Fits(const Problem& problem, const Block& block, const Result& result, Source& source, Memory& memory)
      : problem_(problem), method_(problem.method), block_(block), result_(result), source_(source),
        ranks_(min(method_.most_starts, problem.templates.runs)), projection_(block.x, block.n, memory) {
    for (int k = 0; k < kTheta; ++k)
      limits_.lower[k] = splat(problem.lower[k]), limits_.upper[k] = splat(problem.upper[k]);
  }

  TSL_DEVICE void solve() {
    for (int lane = 0; lane < kLanes; ++lane) take(lane);
    while (busy_ > 0) {
      const Mask done = advance(), out = done | given_up();
      if (any(out)) leave(out, done);
    }
  }

 private:
  using Candidate = typename Source::Candidate;

  // The next curve, if there is one; else the lane idles.
  TSL_DEVICE void take(int lane) {
    Candidate& candidate = candidates_[lane];
    if (!source_.next(&candidate)) {
      candidate.curve = -1;
      return;
    }
    ++busy_;
    load_lane(block_, candidate.curve, lane, projection_.rooted());
    at(plateaus_.least, lane) = block_.least[candidate.curve];
    at(plateaus_.most, lane) = block_.most[candidate.curve];
    at(tss_, lane) = candidate.tss;
    at(floor_, lane) = candidate.floor;
    at(passes_, lane) = 0;
    start(rank_[lane] = 0, lane);
  }

  // The first step of a start evaluates it.
  TSL_DEVICE void start(int rank, int lane) {
    const Candidate& candidate = candidates_[lane];
    const float* theta = problem_.grid + static_cast<size_t>(candidate.template_(rank)) * kTheta;
    at(point_.low, lane) = at(point_.high, lane) = candidate.mean;
    at(point_.rss, lane) = kInfinity;
    at(point_.pivot, lane) = theta[0];
    for (int k = 0; k < kTheta; ++k) {
      at(point_.theta[k], lane) = theta[k];
      at(point_.negative_half_gradient[k], lane) = at(step_[k], lane) = 0;
      for (int j = 0; j < kTheta; ++j) at(point_.normal[j][k], lane) = 0;
    }
    at(first_, lane) = rank == 0 ? kTrue : 0;
    at(damping_, lane) = method_.first_damping;
    at(steps_, lane) = 0;
    at(left_in_round_, lane) = method_.steps_a_round;
  }

  // One step for every curve: where it leads, whether that is the end, and the next step.
  TSL_DEVICE Mask advance() {
    Vector theta[kTheta];
    Family::move(point_.pivot, point_.theta, step_, theta);
    for (int k = 0; k < kTheta; ++k) theta[k] = clip(theta[k], limits_.lower[k], limits_.upper[k]);
    const Point<kTheta> trial = projection_.project(theta, point_.low, point_.high, plateaus_);
    const Mask evaluated = point_.rss < kInfinity, better = trial.rss < point_.rss;
    const Mask creeping = evaluated & better & (point_.rss - trial.rss <= method_.tolerance * point_.rss);
    const Mask exhausted = negated(better) & (damping_ > method_.last_damping);
    damping_ = better ? damping_ * method_.ease : max(damping_, splat(method_.failed_damping)) * method_.tighten;
    damping_ = evaluated ? damping_ : splat(method_.first_damping);
    select(better, trial, &point_);
    Mask active[kTheta];
    on_bound(point_, limits_, active);
    const Vector predicted = predicted_reduction(point_, active);
    const Mask converged = (point_.rss < kInfinity) & (predicted <= method_.tolerance * point_.rss + floor_);
    damped_step(point_, damping_, active, step_);
    within_room(point_, damping_, limits_, method_.longest_step, step_);
    steps_ += 1;
    passes_ += 1;
    left_in_round_ -= 1;
    return converged | creeping | exhausted;
  }

  // At the end of a round: curves that have had all their steps or are not predicted to beat their best fit so far.
  TSL_DEVICE Mask given_up() {
    const Mask round = (left_in_round_ == 0);
    if (!any(round)) return round;
    left_in_round_ = round ? integers(method_.steps_a_round) : left_in_round_;
    const Mask unrivalled = first_ | (best_.rss < method_.perfect * tss_);
    const Vector rival_rss = unrivalled ? splat(kInfinity) : best_.rss;
    return round & ((steps_ >= method_.max_steps) | negated(may_win(point_, best_, rival_rss, limits_, method_)));
  }

  // Curves that are `out` of a start go on to their next one or to their end.
  TSL_DEVICE void leave(Mask out, Mask done) {
    const Mask kept = out & (first_ | (done & (point_.rss < best_.rss)));
    select(kept, point_, &best_);
    converged_ = kept ? done : converged_;
    unseen_ = (out & first_) ? unseen(point_, tss_, block_.n, method_) : unseen_;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!at(out, lane) || candidates_[lane].curve < 0) continue;
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

  TSL_DEVICE bool worth(int rank, int lane) const {
    const float rss = at(best_.rss, lane), tss = at(tss_, lane);
    if (rank >= method_.starts) return rss < method_.perfect * tss && rss > at(floor_, lane);
    return at(unseen_, lane) || tss - candidates_[lane].reduction(rank) < method_.promising * rss;
  }

  TSL_DEVICE void write(int lane) const {
    const int curve = candidates_[lane].curve;
    Mask active[kTheta];
    on_bound(best_, limits_, active);
    const auto out = [&](int row, Vector value, Mask on) {
      const size_t place = static_cast<size_t>(row) * result_.curves + curve;
      result_.coefficients[place] = at(value, lane);
      result_.active[place] = at(on, lane);
    };
    out(0, best_.low, (best_.low <= plateaus_.least) | (best_.low >= plateaus_.most));
    out(1, best_.high, (best_.high <= plateaus_.least) | (best_.high >= plateaus_.most));
    for (int k = 0; k < kTheta; ++k) out(2 + k, best_.theta[k], active[k]);
    result_.converged[curve] = at(converged_, lane);
    result_.passes[curve] = at(passes_, lane);
  }

  TSL_DEVICE static void select(Mask where, const Point<kTheta>& from, Point<kTheta>* to) {
    static_assert(sizeof from == (7 + 2 * kTheta + kTheta * kTheta) * sizeof(Vector), "a member is not selected");
    const auto take = [&](Vector in, Vector& out) { out = where ? in : out; };
    take(from.pivot, to->pivot), take(from.low, to->low), take(from.high, to->high), take(from.rss, to->rss);
    take(from.on_low, to->on_low), take(from.on_high, to->on_high), take(from.between, to->between);
    for (int k = 0; k < kTheta; ++k) {
      take(from.theta[k], to->theta[k]), take(from.negative_half_gradient[k], to->negative_half_gradient[k]);
      for (int j = 0; j < kTheta; ++j) take(from.normal[j][k], to->normal[j][k]);
    }
  }

  const Problem& problem_;
  const Method& method_;
  const Block& block_;
  const Result& result_;
  Source& source_;
  const int ranks_;
  const Projection<Family> projection_;
  Limits<kTheta> limits_;

  int busy_ = 0, rank_[kLanes];
  Candidate candidates_[kLanes];
  Bounds plateaus_{};
  Point<kTheta> point_{}, best_{};
  Vector step_[kTheta]{}, damping_{}, tss_{}, floor_{};
  Integers steps_{}, passes_{}, left_in_round_{};
  Mask first_{}, unseen_{}, converged_{};
};

}  // namespace tsl_jax
