// The templates of a grid as the search goes through them: in runs, the runs in groups of neighbours.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "vector.h"

namespace tsl_jax {

inline constexpr int kRuns = 16;       // as NUM_RUNS of tsl_jax.lm.search
inline constexpr int kGroup = 4;       // neighbouring templates that are worked on together
inline constexpr int kWide = 2;        // vectors of curves for which a template is loaded once
inline constexpr float kFlat = 1e-6f;  // a template is flat while it stays this close to its first or last value

// Templates that are flat but for a band of checkpoints.
struct Group {
  int begin, end;                       // the band
  int index[kGroup];                    // beyond the end of the run the last template is repeated
  float rest[kGroup], spread[kGroup];   // 1 - mean, and sum of squares around it
  float inverse[kGroup];                // 1 / spread, kept away from 1 / 0
  float head[kGroup], tail[kGroup];     // centred value before and after the band
  std::vector<float> band;              // (end - begin, kGroup), centred

  Group(const float* shapes, int first, int run_end, int n) : begin(n), end(0) {
    for (int k = 0; k < kGroup; ++k) {
      index[k] = std::min(first + k, run_end - 1);
      const float* f = shapes + static_cast<size_t>(index[k]) * n;
      int a = 0, b = n;
      while (a < n && std::abs(f[a] - f[0]) <= kFlat) ++a;
      while (b > a && std::abs(f[b - 1] - f[n - 1]) <= kFlat) --b;
      begin = std::min(begin, a);
      end = std::max(end, b);
    }
    end = std::max(begin, end);
    band.resize(static_cast<size_t>(end - begin) * kGroup);
    for (int k = 0; k < kGroup; ++k) centre(shapes + static_cast<size_t>(index[k]) * n, k, n);
  }

  // Sums of template times value. `values`: (n, kWide); `sums`: (n + 1, kWide), of the values before each checkpoint.
  void dot(const Vector* values, const Vector* sums, int n, Vector (*out)[kGroup]) const {
    Vector acc[kWide][kGroup];
    for (int w = 0; w < kWide; ++w) {
      const Vector before = sums[begin * kWide + w], after = sums[n * kWide + w] - sums[end * kWide + w];
      for (int k = 0; k < kGroup; ++k) acc[w][k] = before * head[k] + after * tail[k];
    }
    const float* f = band.data();
    for (int i = begin; i < end; ++i, f += kGroup)
      for (int w = 0; w < kWide; ++w) {
        const Vector value = in_register(values[i * kWide + w]);
        for (int k = 0; k < kGroup; ++k) acc[w][k] += value * f[k];
      }
    std::memcpy(out, acc, sizeof acc);
  }

  // The same, and sums of the template's square times value.
  void dot_squares(const Vector* values, const Vector* sums, int n, Vector (*out)[kGroup],
                   Vector (*squares)[kGroup]) const {
    Vector acc[kWide][kGroup], square[kWide][kGroup];
    for (int w = 0; w < kWide; ++w) {
      const Vector before = sums[begin * kWide + w], after = sums[n * kWide + w] - sums[end * kWide + w];
      for (int k = 0; k < kGroup; ++k) {
        acc[w][k] = before * head[k] + after * tail[k];
        square[w][k] = before * (head[k] * head[k]) + after * (tail[k] * tail[k]);
      }
    }
    const float* f = band.data();
    for (int i = begin; i < end; ++i, f += kGroup)
      for (int k = 0; k < kGroup; ++k)
        for (int w = 0; w < kWide; ++w) {
          const Vector part = values[i * kWide + w] * f[k];
          acc[w][k] += part;
          square[w][k] += part * f[k];
        }
    std::memcpy(out, acc, sizeof acc);
    std::memcpy(squares, square, sizeof square);
  }

 private:
  void centre(const float* f, int k, int n) {
    const double first = f[0], last = f[n - 1];
    double sum = begin * first + (n - end) * last;
    for (int i = begin; i < end; ++i) sum += f[i];
    const double mean = sum / n;
    double squares = begin * (first - mean) * (first - mean) + (n - end) * (last - mean) * (last - mean);
    for (int i = begin; i < end; ++i) squares += (f[i] - mean) * (f[i] - mean);
    rest[k] = 1 - mean;
    spread[k] = squares;
    inverse[k] = 1 / std::max(spread[k], kEps * 1e-6f * n + kTiny);
    head[k] = first - mean;
    tail[k] = last - mean;
    for (int i = begin; i < end; ++i) band[static_cast<size_t>(i - begin) * kGroup + k] = f[i] - mean;
  }
};

class Templates {
 public:
  // `shapes`: (number, n) values of the shape.
  Templates(const float* shapes, int number, int n) {
    const int length = (number + kRuns - 1) / kRuns;
    for (int begin = 0; begin < number; begin += length) {
      const int end = std::min(begin + length, number);
      runs_.emplace_back();
      for (int first = begin; first < end; first += kGroup) runs_.back().emplace_back(shapes, first, end, n);
    }
  }

  int runs() const { return static_cast<int>(runs_.size()); }
  const std::vector<Group>& groups(int run) const { return runs_[run]; }

 private:
  std::vector<std::vector<Group>> runs_;
};

}  // namespace tsl_jax
