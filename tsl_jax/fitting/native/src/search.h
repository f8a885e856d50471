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

  // The losses, and whether a curve's weights differ, or its mean is beyond the bounds of its plateaus.
  TSL_DEVICE void load(const int* curves, Mask* uneven) {
    for (int w = 0; w < kWide; ++w, curves += kLanes) {
      load_strip(block_.loss, block_.n, curves, kWide, loss_.from(w));
      load_strip(block_.weight, block_.n, curves, kWide, weight_.from(w));
      Vector sum = loss_[w];
      for (int i = 1; i < block_.n; ++i) {
        uneven[w] |= weight_[i * kWide + w] != weight_[w];
        sum += loss_[i * kWide + w];
      }
      const float number = static_cast<float>(block_.n);
      uneven[w] |= (sum < number * load_some(block_.least, curves)) | (sum > number * load_some(block_.most, curves));
    }
  }

  // Of the curves that were loaded.
  template <bool kWeighted>
  TSL_DEVICE void search(const int* curves, Found* found) {
    Centred centred[kWide];
    for (int w = 0; w < kWide; ++w) centred[w] = centre<kWeighted>(curves + w * kLanes, w, &found[w].summary);
    for (int run = 0; run < templates_.runs; ++run) {
      Start best[kWide];
      for (Start& b : best) b = {splat(-kInfinity), Integers{}};
      const int begin = run * templates_.groups_a_run, end = begin + templates_.filled(run);
      for (int place = begin; place < end; ++place) best_of_group<kWeighted>(place, centred, best);
      fetch_rows(block_, curves[kCurves - 1] + 1, kCurves, run, templates_.runs);
      for (int w = 0; w < kWide; ++w) found[w].starts[run] = {best[w].reduction - centred[w].lift, best[w].template_};
    }
    for (int w = 0; w < kWide; ++w) sort(found[w].starts);
  }

 private:
  struct Centred {
    Vector total, inverse;  // of the weights
    Vector down, up;        // bounds of the plateaus, from the mean
    Vector lift;            // by how much the rss of the best constant within them is above that of the mean
  };

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
  TSL_DEVICE Centred centre(const int* curves, int w, Summary* summary) const {
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
    const Vector down = load_some(block_.least, curves) - mean, up = load_some(block_.most, curves) - mean;
    const Vector within = clip(Vector{}, down, up);
    return {total, inverse, down, up, total * within * within};
  }

  template <bool kWeighted>
  TSL_DEVICE void best_of_group(int place, const Centred* centred, Start* best) const {
    const Group& group = templates_.groups[place];
    const float* band = templates_.band(place);
    Vector along[kWide][kGroup], shift[kWide][kGroup], square[kWide][kGroup];
    group.dot(band, y_, y_sums_, block_.n, along);
    if (kWeighted) group.dot_squares(band, weight_, weight_sums_, block_.n, shift, square);
    TSL_UNROLL for (int w = 0; w < kWide; ++w) {
      TSL_UNROLL for (int k = 0; k < kGroup; ++k) {
        const Vector gain = kWeighted ? weighted_gain(along[w][k], shift[w][k], square[w][k], group.rest[k], centred[w])
                                      : even_gain(along[w][k], group, k, centred[w]);
        const Mask more = gain > best[w].reduction;
        best[w].reduction = more ? gain : best[w].reduction;
        best[w].template_ = more ? integers(group.index[k]) : best[w].template_;
      }
    }
  }

  // By how much a template lowers the rss of the mean, which is within the bounds here. A plateau that is beyond them costs
  // the square of its way back, where the other one follows.
  TSL_DEVICE static Vector even_gain(Vector along, const Group& group, int k, const Centred& c) {
    const Vector amplitude = along * group.inverse[k], high = amplitude * group.rest[k], low = high - amplitude;
    const Vector low_beyond = low - clip(low, c.down, c.up), high_beyond = high - clip(high, c.down, c.up);
    return along * amplitude - group.of_low[k] * (low_beyond * low_beyond) -
           group.of_high[k] * (high_beyond * high_beyond);
  }

  // The rss of the best constant within the bounds, for any weights and any mean: `_reduction` of
  // tsl_jax.fitting.xla.search.
  TSL_DEVICE Vector weighted_gain(Vector along, Vector shift, Vector square, float plain_rest, const Centred& c) const {
    const Vector moved = shift * c.inverse, rest = plain_rest - moved, part = 1.0f - rest;
    const Vector tss = square - shift * moved, between = c.total * part * rest - tss;
    const Vector of_low = tss + c.total * rest * rest, of_high = tss + c.total * part * part;
    const Vector inverse = reciprocal(max(tss * of_low * of_high, splat(kTiny)));
    const Vector inverse_low = tss * of_high * inverse, inverse_high = tss * of_low * inverse;
    const Mask varies = tss > templates_.method.least_variance * c.total;
    const Vector amplitude = varies ? along * of_low * of_high * inverse : Vector{};
    const Vector high = amplitude * rest, low = high - amplitude;
    const Vector low_first = cost(low, high, between, tss, of_high, inverse_high, c);
    const Vector high_first = cost(high, low, between, tss, of_low, inverse_low, c);
    return along * amplitude + c.lift - min(low_first, high_first);
  }

  TSL_DEVICE static Vector cost(Vector first, Vector second, Vector between, Vector tss, Vector square, Vector inverse,
                                const Centred& c) {
    const Vector moved = clip(first, c.down, c.up) - first;
    const Vector followed = second - moved * between * inverse, cut = followed - clip(followed, c.down, c.up);
    return c.total * tss * inverse * (moved * moved) + square * (cut * cut);
  }

  const Templates& templates_;
  const Block& block_;
  const Columns loss_, weight_, y_, y_sums_, weight_sums_;  // (n, wide)
};

}  // namespace tsl_jax
