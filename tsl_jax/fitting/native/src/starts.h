// Curves in their order, each with its starts.
#pragma once

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
class Starts {
 public:
  using Candidate = tsl_jax::Candidate;

  Starts(const Templates& templates, const Block& block, Memory& memory)
      : search_(templates, block, memory), curves_(block.curves) {}

  // False after the last curve.
  bool next(Candidate* candidate) {
    if (next_ == curves_) return false;
    const int place = next_ % Search::kCurves;
    if (place == 0) search();
    const Found& found = found_[place / kLanes];
    const int lane = place % kLanes;
    candidate->curve = next_++;
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
  void search() {
    int at[kWide];
    for (int w = 0; w < kWide; ++w) at[w] = next_ + w * kLanes;
    search_.run(at, found_);
  }

  Search search_;
  Found found_[kWide]{};
  int curves_, next_ = 0;
};

}  // namespace tsl_jax
