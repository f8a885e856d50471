// The templates of a grid as the search goes through them: in runs, the runs in groups of `kGroup` neighbours.
#pragma once

#include "block.h"

namespace tsl_jax {

inline constexpr int kMostRuns = 16;  // for which there is room

// Constants of the search, handed over by tsl_jax.fitting.xla.search, where each is explained.
struct SearchMethod {
  int runs;
  float flat, least_variance, rounding;
};

// The rss rises by this times the square of a plateau's way from where it is best, if the other plateau follows. `part`:
// of the weights, that the other one has.
template <class Number>
TSL_DEVICE Number stiffness(Number tss, Number part, Number total) {
  return total * tss / (tss + total * part * part);
}

// Templates that are flat but for a band of checkpoints.
struct alignas(16) Group {
  float rest[kGroup], inverse[kGroup];    // 1 - mean, and 1 over the sum of squares around it, or 0
  float head[kGroup], tail[kGroup];       // centred value before and after the band
  float of_low[kGroup], of_high[kGroup];  // stiffness of the plateaus, where all weights are the same
  int index[kGroup];                      // of the template; beyond the run's last one that is repeated
  int begin, end;                         // the band

  // `band`: of (n, kGroup) what will be used, (end - begin, kGroup), centred.
  TSL_DEVICE void make(const SearchMethod& method, const float* shapes, int first, int run_end, int n, float* band) {
    begin = n, end = 0;
    for (int k = 0; k < kGroup; ++k) {
      index[k] = min(first + k, run_end - 1);
      const float* f = shapes + static_cast<size_t>(index[k]) * n;
      int a = 0, b = n;
      while (a < n && apart(f[a], f[0]) <= method.flat) ++a;
      while (b > a && apart(f[b - 1], f[n - 1]) <= method.flat) --b;
      begin = min(begin, a);
      end = end > b ? end : b;
    }
    end = end > begin ? end : begin;
    for (int k = 0; k < kGroup; ++k) centre(method, shapes + static_cast<size_t>(index[k]) * n, k, n, band);
  }

  // Sums of template times value. `values`: (n, kWide); `sums`: (n + 1, kWide), of the values before each checkpoint.
  TSL_DEVICE void dot(const float* band, Columns values, Columns sums, int n, Vector (*out)[kGroup]) const {
    Vector acc[kWide][kGroup];
    for (int w = 0; w < kWide; ++w) {
      const Vector before = sums[begin * kWide + w], after = sums[n * kWide + w] - sums[end * kWide + w];
      for (int k = 0; k < kGroup; ++k) acc[w][k] = before * head[k] + after * tail[k];
    }
    values = values.from(begin * kWide);
    for (int i = begin; i < end; ++i, values = values.from(kWide), band += kGroup) {
      const Neighbours f(band);
      for (int w = 0; w < kWide; ++w) {
        const Vector value = in_register(values[w]);
        for (int k = 0; k < kGroup; ++k) acc[w][k] += value * f[k];
      }
    }
    for (int w = 0; w < kWide; ++w)
      for (int k = 0; k < kGroup; ++k) out[w][k] = acc[w][k];
  }

  // The same, and sums of the template's square times value.
  TSL_DEVICE void dot_squares(const float* band, Columns values, Columns sums, int n, Vector (*out)[kGroup],
                              Vector (*squares)[kGroup]) const {
    Vector acc[kWide][kGroup], square[kWide][kGroup];
    for (int w = 0; w < kWide; ++w) {
      const Vector before = sums[begin * kWide + w], after = sums[n * kWide + w] - sums[end * kWide + w];
      for (int k = 0; k < kGroup; ++k) {
        acc[w][k] = before * head[k] + after * tail[k];
        square[w][k] = before * (head[k] * head[k]) + after * (tail[k] * tail[k]);
      }
    }
    values = values.from(begin * kWide);
    for (int i = begin; i < end; ++i, values = values.from(kWide), band += kGroup) {
      const Neighbours f(band);
      for (int k = 0; k < kGroup; ++k)
        for (int w = 0; w < kWide; ++w) {
          const Vector part = values[w] * f[k];
          acc[w][k] += part;
          square[w][k] += part * f[k];
        }
    }
    for (int w = 0; w < kWide; ++w)
      for (int k = 0; k < kGroup; ++k) out[w][k] = acc[w][k], squares[w][k] = square[w][k];
  }

 private:
  TSL_DEVICE static float apart(float a, float b) { return a < b ? b - a : a - b; }

  TSL_DEVICE void centre(const SearchMethod& method, const float* f, int k, int n, float* band) {
    const double before = f[0], after = f[n - 1];
    double sum = begin * before + (n - end) * after;
    for (int i = begin; i < end; ++i) sum += f[i];
    const double mean = sum / n;
    double squares = begin * (before - mean) * (before - mean) + (n - end) * (after - mean) * (after - mean);
    for (int i = begin; i < end; ++i) squares += (f[i] - mean) * (f[i] - mean);
    rest[k] = 1 - mean;
    inverse[k] = squares > method.least_variance * n ? 1 / squares : 0;
    of_low[k] = stiffness<double>(squares, mean, n);
    of_high[k] = stiffness<double>(squares, 1 - mean, n);
    head[k] = before - mean;
    tail[k] = after - mean;
    for (int i = begin; i < end; ++i) band[static_cast<size_t>(i - begin) * kGroup + k] = f[i] - mean;
  }
};

// All templates: in runs of the same length (but for the last one), runs in groups.
struct Templates {
  SearchMethod method;
  int number, n, length, runs, groups_a_run, size;
  const Group* groups = nullptr;  // (size), run after run
  const float* bands = nullptr;   // (size, n, kGroup), of each what it needs

  Templates(const SearchMethod& method_, int number_, int n_)
      : method(method_), number(number_), n(n_), length((number + method.runs - 1) / method.runs),
        runs((number + length - 1) / length), groups_a_run((length + kGroup - 1) / kGroup), size(runs * groups_a_run) {}

  size_t band_size() const { return static_cast<size_t>(size) * n * kGroup; }

  // Groups of a run that have templates.
  TSL_DEVICE int filled(int run) const { return (min(length, number - run * length) + kGroup - 1) / kGroup; }

  TSL_DEVICE const float* band(int place) const { return bands + static_cast<size_t>(place) * n * kGroup; }

  // One of the groups, if it has templates, and its band. `shapes`: (number, n) values of the shape.
  TSL_DEVICE void make(int place, const float* shapes, Group* made, float* their_bands) const {
    const int run = place / groups_a_run, begin = run * length, first = begin + place % groups_a_run * kGroup;
    const int end = min(begin + length, number);
    float* band = their_bands + static_cast<size_t>(place) * n * kGroup;
    if (first < end) made[place].make(method, shapes, first, end, n, band);
  }
};

}  // namespace tsl_jax
