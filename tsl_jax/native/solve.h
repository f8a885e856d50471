// The best curve for every row of a block: tsl_jax.lm.kernel.solve_block, one vector of curves at a time.
#pragma once

#include "families.h"
#include "lanes.h"
#include "search.h"

namespace tsl_jax {

struct Result {
  int curves;           // of the whole block
  float* coefficients;  // (2 + theta, curves): low, high, theta
  bool* held;           // (2 + theta, curves): on a bound
  bool* converged;      // (curves)

  Result rows(int first) const { return {curves, coefficients + first, held + first, converged + first}; }
};

// What fits of one family at the same checkpoints share.
template <class Family>
struct Problem {
  Limits<Family::kTheta> limits;
  const float* grid;  // (templates, theta)
  Templates templates;
  Method method;

  Problem(const float* lower, const float* upper, const float* grid_, const float* shapes, int number, int n,
          const Method& method_)
      : grid(grid_), templates(shapes, number, n), method(method_) {
    for (int k = 0; k < Family::kTheta; ++k) limits.lower[k] = splat(lower[k]), limits.upper[k] = splat(upper[k]);
  }
};

// The fits of some rows.
template <class Family>
class Fits {
  static constexpr int kTheta = Family::kTheta;

 public:
  Fits(const Problem<Family>& problem, const Block& block)
      : problem_(problem), method_(problem.method), block_(block),
        ranks_(std::min(method_.most_starts, problem.templates.runs())), gains_(size(ranks_)), chosen_(size(ranks_)),
        mean_(size(1)), spread_(size(1)), floor_(size(1)), best_(block.curves), unseen_(size(1)) {}

  void solve(const Result& result) {
    find_starts();
    Lanes<Family> lanes(block_, problem_.limits, method_);
    for (int rank = 0; rank < ranks_; ++rank) {
      const std::vector<Job> queue = worth(rank);
      if (queue.empty() && rank >= method_.starts) break;
      attempt(rank, queue, lanes);
      if (rank == 0 && ranks_ > 1) find_doubts();
    }
    write(result);
  }

 private:
  size_t size(int ranks) const { return static_cast<size_t>(ranks) * block_.curves; }

  void find_starts() {
    Search search(problem_.templates, block_);
    for (int first = 0; first < block_.curves; first += Search::kCurves) {
      Search::Found found[Search::kWide];
      search.run(first, found);
      for (int w = 0; w < Search::kWide; ++w) {
        const int at = first + w * kLanes;
        const Summary& summary = found[w].summary;
        store(summary.mean, block_, at, mean_.data());
        store(summary.spread, block_, at, spread_.data());
        store(summary.floor, block_, at, floor_.data());
        for (int rank = 0; rank < ranks_; ++rank) {
          store(found[w].starts[rank].gain, block_, at, &gains_[size(rank)]);
          store(found[w].starts[rank].template_, block_, at, &chosen_[size(rank)]);
        }
      }
    }
  }

  void find_doubts() {
    for (int first = 0; first < block_.curves; first += kLanes) {
      const Vector spread = load(spread_.data(), block_, first);
      store(unseen(best_.strip(first), spread, block_.n, method_), block_, first, unseen_.data());
    }
  }

  bool perfect(int c) const { return best_.rss(c) < method_.perfect * spread_[c]; }

  // Curves to be fitted from their start of this rank.
  std::vector<Job> worth(int rank) const {
    std::vector<Job> queue;
    for (int c = 0; c < block_.curves; ++c) {
      const size_t at = size(rank) + c;
      const bool worth = rank == 0 || (rank < method_.starts
          ? unseen_[c] || spread_[c] - gains_[at] < method_.promising * best_.rss(c)
          : perfect(c) && best_.rss(c) > floor_[c]);
      if (worth) queue.push_back({c, problem_.grid + static_cast<size_t>(chosen_[at]) * kTheta, mean_[c], floor_[c]});
    }
    return queue;
  }

  void attempt(int rank, const std::vector<Job>& queue, Lanes<Family>& lanes) {
    auto rival = [&](int c, Point<kTheta>* p, int lane) {
      if (rank == 0 || perfect(c)) return false;
      best_.get(c, p, lane);
      return true;
    };
    auto leave = [&](int c, const Point<kTheta>& p, int lane, bool done) {
      if (rank == 0 || (done && p.rss[lane] < best_.rss(c))) best_.set(c, p, lane, done);
    };
    lanes.run(queue, rival, leave);
  }

  void write(const Result& result) const {
    for (int first = 0; first < block_.curves; first += kLanes) {
      const Point<kTheta> p = best_.strip(first);
      const Vector least = load(block_.least, block_, first), most = load(block_.most, block_, first);
      Mask frozen[kTheta];
      on_bound(p, problem_.limits, frozen);
      auto out = [&](int row, Vector value, Mask held) {
        store(value, block_, first, result.coefficients + static_cast<size_t>(row) * result.curves);
        store(held, block_, first, result.held + static_cast<size_t>(row) * result.curves);
      };
      out(0, p.low, (p.low <= least) | (p.low >= most));
      out(1, p.high, (p.high <= least) | (p.high >= most));
      for (int k = 0; k < kTheta; ++k) out(2 + k, p.theta[k], frozen[k]);
    }
    for (int c = 0; c < block_.curves; ++c) result.converged[c] = best_.done(c);
  }

  const Problem<Family>& problem_;
  const Method& method_;
  const Block& block_;
  int ranks_;
  std::vector<float> gains_;  // (ranks, curves), and the templates
  std::vector<int> chosen_;
  std::vector<float> mean_, spread_, floor_;
  Points<kTheta> best_;
  std::vector<uint8_t> unseen_;
};

}  // namespace tsl_jax
