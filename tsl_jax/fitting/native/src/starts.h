// Curves in their order, each with its starts.
#pragma once

#include <vector>

#include "search.h"

namespace tsl_jax {

struct Candidate {
  int curve;
  float mean, tss, floor;  // see Summary
  float reductions[kMostRuns];  // of the starts, best first
  int templates[kMostRuns];

  float reduction(int rank) const { return reductions[rank]; }
  int template_(int rank) const { return templates[rank]; }
};

// Curves are searched some at a time, shortly before they are fitted: what the search has read is still in the cache.
// Uneven ones among even ones are put off until there are enough of them.
class Starts {
 public:
  using Candidate = tsl_jax::Candidate;

  Starts(const Templates& templates, const Block& block, Memory& memory)
      : search_(templates, block, memory), block_(block), strip_(block, 0) {}

  // False after the last curve.
  bool next(Candidate* candidate) {
    while (next_ == number_)
      if (!search()) return false;
    const int place = places_[next_++], lane = place % kLanes;
    const Found& found = found_[place / kLanes];
    candidate->curve = strip_.at[place];
    candidate->mean = found.summary.mean[lane];
    candidate->tss = found.summary.tss[lane];
    candidate->floor = found.summary.floor[lane];
    for (int rank = 0; rank < kMostRuns; ++rank) {
      candidate->reductions[rank] = found.starts[rank].reduction[lane];
      candidate->templates[rank] = found.starts[rank].template_[lane];
    }
    return true;
  }

 private:
  static constexpr int kCurves = Search::kCurves;

  // The next strip, or the last of those put off; false where there is none.
  bool search() {
    const bool fresh = read_ < block_.curves;
    const int last = static_cast<int>(fresh ? block_.curves - read_ : later_.size()), curves = min(kCurves, last);
    if (curves == 0) return false;
    strip_ = Curves<kCurves>(block_, read_);
    if (!fresh)
      for (int i = 0; i < kCurves; ++i) strip_.at[i] = later_[last - 1 - min(i, curves - 1)];
    Mask uneven[kWide]{}, any_even{};
    search_.load(strip_.at, uneven);
    for (const Mask each : uneven) any_even |= negated(each);
    const bool put_off = any(any_even);
    if (put_off) search_.search<false>(strip_.at, found_);
    else search_.search<true>(strip_.at, found_);
    next_ = number_ = 0;
    for (int i = 0; i < curves; ++i) {
      if (put_off && uneven[i / kLanes][i % kLanes]) later_.push_back(strip_.at[i]);
      else places_[number_++] = i;
    }
    if (fresh) read_ += curves;
    else later_.resize(last - curves);
    return true;
  }

  Search search_;
  const Block& block_;
  Found found_[kWide]{};
  Curves<kCurves> strip_;
  int places_[kCurves], number_ = 0, next_ = 0;  // of curves of the strip that have been searched; those handed over
  int read_ = 0;
  std::vector<int> later_;
};

}  // namespace tsl_jax
