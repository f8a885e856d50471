// What is said of finished fits: tsl_jax.lm.statistics.measure, one vector of curves at a time.
#pragma once

#include "block.h"
#include "families.h"

namespace tsl_jax {

struct Solution {
  int curves;                 // of the whole block
  const float* coefficients;  // (2 + theta, curves): low, high, theta
  const bool* held;           // (2 + theta, curves)

  Solution rows(int first) const { return {curves, coefficients + first, held + first}; }
};

struct Measures {
  int curves;
  float* factor;                     // (2 + theta, 2 + theta, curves)
  float *rss, *constant, *spread;    // (curves)

  Measures rows(int first) const { return {curves, factor + first, rss + first, constant + first, spread + first}; }
};

// The columns of the Jacobian by (low, high, theta), times the roots of the weights, made orthonormal by modified
// Gram-Schmidt: R is its upper triangle.
template <int kSize>
struct Triangle {
  Vector upper[kSize][kSize]{}, inverse[kSize][kSize]{};

  // `columns`: (n, kSize), which it overwrites.
  TSL_DEVICE Triangle(Columns columns, int n, const Mask* held) {
    Vector squares[kSize]{}, before[kSize];
    for (int i = 0; i < n; ++i)
      for (int k = 0; k < kSize; ++k) squares[k] += columns[i * kSize + k] * columns[i * kSize + k];
    for (int k = 0; k < kSize; ++k) before[k] = norm(squares[k]);
    TSL_UNROLL for (int k = 0; k < kSize; ++k) {
      Vector square{};
      for (int i = 0; i < n; ++i) square += columns[i * kSize + k] * columns[i * kSize + k];
      const Vector length = norm(square);
      const Mask dependent = length <= 30 * kEps * before[k];
      upper[k][k] = held[k] ? splat(1) : dependent ? splat(__builtin_nanf("")) : length;
      take_out(columns, n, k, held, held[k] ? Vector{} : 1.0f / length);
    }
    invert(held);
  }

 private:
  TSL_DEVICE static Vector norm(Vector square) { return sqrt(max(square, splat(kTiny))); }

  // Column k to its unit length, and its part out of the later ones.
  TSL_DEVICE void take_out(Columns columns, int n, int k, const Mask* held, Vector scale) {
    for (int i = 0; i < n; ++i) {
      const Columns row = columns.from(i * kSize);
      row[k] *= scale;
      for (int j = k + 1; j < kSize; ++j) upper[k][j] += row[k] * row[j];
    }
    for (int j = k + 1; j < kSize; ++j) upper[k][j] = held[j] ? Vector{} : upper[k][j];
    for (int i = 0; i < n; ++i) {
      const Columns row = columns.from(i * kSize);
      for (int j = k + 1; j < kSize; ++j) row[j] -= upper[k][j] * row[k];
    }
  }

  TSL_DEVICE void invert(const Mask* held) {
    TSL_UNROLL for (int j = 0; j < kSize; ++j) {
      inverse[j][j] = held[j] ? Vector{} : 1.0f / upper[j][j];
      TSL_UNROLL for (int i = j - 1; i >= 0; --i) {
        Vector sum{};
        for (int k = i + 1; k <= j; ++k) sum += upper[i][k] * inverse[k][j];
        inverse[i][j] = held[i] ? Vector{} : -sum / upper[i][i];
      }
    }
  }
};

template <class Family>
class Measurer {
  static constexpr int kTheta = Family::kTheta, kSize = 2 + kTheta;

 public:
  // Vectors of memory that it needs.
  static int memory(int n) { return (2 + kSize) * n; }

  TSL_DEVICE Measurer(const Block& block, Memory& memory)
      : block_(block), loss_(memory.take(block.n)), weight_(memory.take(block.n)),
        columns_(memory.take(block.n * kSize)) {}

  // For a vector of curves from the first on.
  TSL_DEVICE void run(int first, const Solution& solution, const Measures& out) const {
    load_strip(block_.loss, block_, first, 1, loss_);
    load_strip(block_.weight, block_, first, 1, weight_);
    Vector p[kSize];
    Mask held[kSize];
    for (int k = 0; k < kSize; ++k) {
      const size_t row = static_cast<size_t>(k) * solution.curves;
      p[k] = load(solution.coefficients + row, block_, first);
      for (int lane = 0; lane < kLanes; ++lane)
        at(held[k], lane) = solution.held[row + row_of(block_, first, lane)] ? kTrue : 0;
    }
    store(fill_columns(p), block_, first, out.rss);
    const Triangle<kSize> r(columns_, block_.n, held);
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j)
        store(r.inverse[i][j], block_, first, out.factor + static_cast<size_t>(i * kSize + j) * out.curves);
    around_mean(first, out);
  }

 private:
  // The weighted Jacobian, and the rss.
  TSL_DEVICE Vector fill_columns(const Vector* p) const {
    const Family family(p + 2);
    const Vector scale = (p[1] - p[0]) * family.scale();
    Vector rss{};
    for (int i = 0; i < block_.n; ++i) {
      const Shape s = family.shape(block_.x[i]);
      const Vector root = sqrt(weight_[i]), r = loss_[i] - (p[0] * s.e + p[1] * s.f);
      rss += weight_[i] * (r * r);
      const Row<kTheta> at = family.row(block_.x[i], root, s, family.no_pivot());
      const Columns column = columns_.from(i * kSize);
      column[0] = at.e;
      column[1] = at.f;
      for (int k = 0; k < kTheta; ++k) column[2 + k] = at.g[k] * scale;
    }
    return rss;
  }

  // The mean in two passes: one alone loses as many of float32's digits as there are digits in n.
  TSL_DEVICE void around_mean(int first, const Measures& out) const {
    Vector total{}, sum{}, rest{}, spread{};
    for (int i = 0; i < block_.n; ++i) total += weight_[i], sum += weight_[i] * loss_[i];
    const Vector unit = total > 0.0f ? 1.0f / total : splat(1), about = sum * unit;
    for (int i = 0; i < block_.n; ++i) {
      const Vector apart = loss_[i] - about;
      rest += weight_[i] * apart;
      spread += weight_[i] * apart * apart;
    }
    store(about + rest * unit, block_, first, out.constant);
    store(spread - rest * rest * unit, block_, first, out.spread);
  }

  const Block& block_;
  const Columns loss_, weight_, columns_;  // columns: (n, kSize)
};

}  // namespace tsl_jax
