// Where fits start: the best templates of a grid, each from another run of neighbours (see tsl_jax.fitting.xla.search).
//
// Outside of a template's band, sums over the losses are differences of their running sums.
#pragma once

#include "block.h"
#include "templates.h"

namespace tsl_jax {

struct Start {
  Vector reduction;    // how much the template lowers the rss of the mean
  Integers template_;  // its index
};

// What is known of curves before they are fitted.
struct Summary {
  Vector mean, tss, floor;  // weighted; sum of squares around the mean; what rounding leaves of an rss
};

struct Found {
  Summary summary;
  Start starts[kMostRuns];  // best first, as many as there are runs
};

// Searches `kWide` vectors of curves at a time.
class Search {
 public:
  static constexpr int kCurves = kWide * kLanes;

  // Vectors of memory that it needs.
  static int memory(int n) { return kWide * (3 * n + 2 * (n + 1)); }

  TSL_DEVICE Search(const Templates& templates, const Block& block, Memory& memory)
      : templates_(templates), block_(block), loss_(memory.take(kWide * block.n)),
        weight_(memory.take(kWide * block.n)), y_(memory.take(kWide * block.n)),
        y_sums_(memory.take(kWide * (block.n + 1))), weight_sums_(memory.take(kWide * (block.n + 1))) {}

  // For the curves from at[w] on, as many as there are lanes.
  TSL_DEVICE void run(const int* at, Found* found) {
    Mask uneven[kWide]{};
    load(at, uneven);
    Mask any_uneven{}, any_even{};
    for (int w = 0; w < kWide; ++w) any_uneven |= uneven[w], any_even |= negated(uneven[w]);
    Found other[kWide];
    if (any(any_even)) search<false>(at, found);
    if (any(any_uneven)) search<true>(at, other);
    for (int w = 0; w < kWide; ++w)
      if (any(uneven[w])) select(uneven[w], other[w], found + w);
  }

  // The losses, and whether a curve's weights differ.
  TSL_DEVICE void load(const int* at, Mask* uneven) {
    for (int w = 0; w < kWide; ++w) {
      load_strip(block_.loss, block_, at[w], kWide, loss_.from(w));
      load_strip(block_.weight, block_, at[w], kWide, weight_.from(w));
      for (int i = 1; i < block_.n; ++i) uneven[w] |= weight_[i * kWide + w] != weight_[w];
    }
  }

  // Of the curves that were loaded.
  template <bool kWeighted>
  TSL_DEVICE void search(const int* at, Found* found) {
    Centred centred[kWide];
    for (int w = 0; w < kWide; ++w) centred[w] = centre<kWeighted>(at[w], w, &found[w].summary);
    for (int run = 0; run < templates_.runs; ++run) {
      Start best[kWide];
      for (Start& b : best) b = {splat(-kInfinity), Integers{}};
      const int begin = run * templates_.groups_a_run, end = begin + templates_.filled(run);
      for (int place = begin; place < end; ++place) best_of_group<kWeighted>(place, centred, best);
      fetch_rows(block_, at[0] + kCurves, kCurves, run, templates_.runs);
      for (int w = 0; w < kWide; ++w) found[w].starts[run] = best[w];
    }
    for (int w = 0; w < kWide; ++w) sort(found[w].starts);
  }

 private:
  struct Centred {
    Vector total, inverse, down, up;  // inverse: of the total; down, up: from the mean to the bounds of the plateaus
  };

  TSL_DEVICE void select(Mask where, const Found& other, Found* found) const {
    const Summary &a = other.summary, &b = found->summary;
    found->summary = {where ? a.mean : b.mean, where ? a.tss : b.tss, where ? a.floor : b.floor};
    for (int run = 0; run < templates_.runs; ++run) {
      const Start &left = other.starts[run], &right = found->starts[run];
      found->starts[run] = {where ? left.reduction : right.reduction, where ? left.template_ : right.template_};
    }
  }

  // Insertion sort by compare and exchange.
  TSL_DEVICE void sort(Start* starts) const {
    for (int i = 1; i < templates_.runs; ++i) {
      for (int j = i; j > 0; --j) {
        Start &a = starts[j - 1], &b = starts[j];
        const Mask swap = b.reduction > a.reduction;
        const Start upper{swap ? b.reduction : a.reduction, swap ? b.template_ : a.template_};
        b = {swap ? a.reduction : b.reduction, swap ? a.template_ : b.template_};
        a = upper;
      }
    }
  }

  // Sums of losses, and the losses around their mean with their running sums.
  template <bool kWeighted>
  TSL_DEVICE Centred centre(int first, int w, Summary* summary) const {
    const int n = block_.n;
    Vector total{}, sum{}, squares{}, tss{}, y_sum{}, weight_sum{};
    for (int i = w; i < n * kWide; i += kWide) {
      const Vector weighted = kWeighted ? weight_[i] * loss_[i] : loss_[i];
      sum += weighted;
      squares += weighted * loss_[i];
      if (kWeighted) total += weight_[i];
    }
    total = kWeighted ? max(total, splat(kTiny)) : splat(n);
    const Vector inverse = reciprocal(total), mean = sum * inverse;
    for (int i = w; i < n * kWide; i += kWide) {
      const Vector y = loss_[i] - mean;
      y_[i] = kWeighted ? weight_[i] * y : y;
      tss += y_[i] * y;
      y_sums_[i] = y_sum;
      y_sum += y_[i];
      if (!kWeighted) continue;
      weight_sums_[i] = weight_sum;
      weight_sum += weight_[i];
    }
    y_sums_[n * kWide + w] = y_sum;
    weight_sums_[n * kWide + w] = weight_sum;
    const Vector unit = kWeighted ? splat(1) : weight_[w];
    *summary = {mean, unit * tss, unit * squares * templates_.method.rounding};
    return {total, inverse, mean - tsl_jax::load(block_.least, block_, first),
            tsl_jax::load(block_.most, block_, first) - mean};
  }

  template <bool kWeighted>
  TSL_DEVICE void best_of_group(int place, const Centred* centred, Start* best) const {
    const Group& group = templates_.groups[place];
    const float* band = templates_.band(place);
    Vector along[kWide][kGroup], shift[kWide][kGroup], square[kWide][kGroup];
    group.dot(band, y_, y_sums_, block_.n, along);
    if (kWeighted) group.dot_squares(band, weight_, weight_sums_, block_.n, shift, square);
    TSL_UNROLL for (int w = 0; w < kWide; ++w) {
      const Centred& c = centred[w];
      Vector rest[kGroup], tss[kGroup], amplitude[kGroup], reduction[kGroup];
      Vector top = best[w].reduction;
      for (int k = 0; k < kGroup; ++k) {
        Vector inverse = splat(group.inverse[k]);
        rest[k] = splat(group.rest[k]), tss[k] = splat(group.tss[k]);
        if (kWeighted) {
          const Vector mean = shift[w][k] * c.inverse;
          rest[k] -= mean;
          tss[k] = square[w][k] - shift[w][k] * mean;
          inverse = reciprocal(max(tss[k], templates_.method.least(c.total)));
        }
        amplitude[k] = along[w][k] * inverse;
        reduction[k] = along[w][k] * amplitude[k];
        top = max(reduction[k], top);
      }
      // Bounds only lower a reduction: where the best without them is within them, the others need not be looked at.
      const Mask better = top > best[w].reduction;
      if (!any(better)) continue;
      Start found = best[w];
      Vector high{}, drop{};
      for (int k = kGroup; k-- > 0;) {
        const Mask is_top = better & (reduction[k] == top);
        found.reduction = is_top ? reduction[k] : found.reduction;
        found.template_ = is_top ? integers(group.index(k)) : found.template_;
        drop = is_top ? amplitude[k] : drop;
        high = is_top ? amplitude[k] * rest[k] : high;
      }
      const Mask outside = beyond(high, drop, c);
      if (any(outside)) {
        Start bounded = best[w];
        for (int k = 0; k < kGroup; ++k) {
          const Vector edge = kWeighted ? bounded_reduction(along[w][k], tss[k], rest[k], c)
                                        : bounded_reduction(along[w][k], group, k, c);
          const Vector most = beyond(amplitude[k] * rest[k], amplitude[k], c) ? edge : reduction[k];
          const Mask more = most > bounded.reduction;
          bounded.reduction = more ? most : bounded.reduction;
          bounded.template_ = more ? integers(group.index(k)) : bounded.template_;
        }
        found = {outside ? bounded.reduction : found.reduction, outside ? bounded.template_ : found.template_};
      }
      best[w] = found;
    }
  }

  // Whether one of the plateaus, `high` and `drop` less, each from the mean, is outside of their bounds.
  TSL_DEVICE static Mask beyond(Vector high, Vector drop, const Centred& c) {
    const Vector low = high - drop;
    return (min(low, high) < -c.down) | (max(low, high) > c.up);
  }

  // How much a template lowers the rss of the mean with a plateau on a bound:
  // `_reduction` of tsl_jax.fitting.xla.search.
  TSL_DEVICE static Vector bounded_reduction(Vector along, Vector tss, Vector rest, const Centred& c) {
    const Vector template_mean = 1.0f - rest;
    const Vector falling = positive(tss + c.total * template_mean * template_mean, c.total);
    const Vector rising = positive(tss + c.total * rest * rest, c.total);
    return max(edge(along + c.total * c.down * template_mean, falling, reciprocal(falling), c),
               edge(c.total * c.down * rest - along, rising, reciprocal(rising), c)) - c.total * c.down * c.down;
  }

  // The same where all weights are the same.
  TSL_DEVICE static Vector bounded_reduction(Vector along, const Group& group, int k, const Centred& c) {
    const Vector all_down = c.total * c.down;
    const Edge &falling = group.falling, &rising = group.rising;
    const float rest = group.rest[k];
    return max(edge(along + all_down * (1 - rest), splat(falling.square[k]), splat(falling.inverse[k]), c),
               edge(all_down * rest - along, splat(rising.square[k]), splat(rising.inverse[k]), c)) - all_down * c.down;
  }

  TSL_DEVICE static Vector edge(Vector dot, Vector square, Vector inverse, const Centred& c) {
    const Vector h = clip(dot * inverse, Vector{}, c.down + c.up);
    return h * (2.0f * dot - h * square);
  }

  const Templates& templates_;
  const Block& block_;
  const Columns loss_, weight_, y_, y_sums_, weight_sums_;  // (n, wide)
};

}  // namespace tsl_jax
