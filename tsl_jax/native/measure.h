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
// Gram-Schmidt: R is its upper triangle. In each sweep over the rows one more column is taken out of the others.
template <int kSize>
struct Triangle {
  Vector upper[kSize][kSize]{}, inverse[kSize][kSize]{};

  // row(i, columns) gives the row of checkpoint i.
  template <class Row>
  TSL_DEVICE Triangle(const Row& row, int n, const Mask* held) {
    Vector before[kSize], scale[kSize];
    TSL_UNROLL for (int k = 0; k < kSize; ++k) {
      Vector dots[kSize]{}, squares[kSize]{};
      for (int i = 0; i < n; ++i) {
        Vector c[kSize];
        row(i, c);
        TSL_UNROLL for (int m = 0; m < k; ++m) {
          c[m] *= scale[m];
          TSL_UNROLL for (int j = m + 1; j < kSize; ++j) c[j] -= upper[m][j] * c[m];
        }
        TSL_UNROLL for (int j = k; j < kSize; ++j) dots[j] += c[k] * c[j];
        if (k == 0) TSL_UNROLL for (int j = 0; j < kSize; ++j) squares[j] += c[j] * c[j];
      }
      if (k == 0) TSL_UNROLL for (int j = 0; j < kSize; ++j) before[j] = norm(squares[j]);
      const Vector length = norm(dots[k]);
      const Mask dependent = length <= 30 * kEps * before[k];
      upper[k][k] = held[k] ? splat(1) : dependent ? splat(__builtin_nanf("")) : length;
      scale[k] = held[k] ? Vector{} : 1.0f / length;
      TSL_UNROLL for (int j = k + 1; j < kSize; ++j) upper[k][j] = held[j] ? Vector{} : scale[k] * dots[j];
    }
    invert(held);
  }

 private:
  TSL_DEVICE static Vector norm(Vector square) { return sqrt(max(square, splat(kTiny))); }

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
  static constexpr int kTheta = Family::kTheta, kSize = 2 + kTheta, kKept = kKeeps ? kSize : 0;

 public:
  // Vectors of memory that it needs.
  static int memory(int n) { return (2 + kKept) * n; }

  TSL_DEVICE Measurer(const Block& block, Memory& memory)
      : block_(block), loss_(memory.take(block.n)), weight_(memory.take(block.n)),
        kept_(memory.take(block.n * kKept)) {}

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
    const Family family(p + 2);
    const Vector scale = (p[1] - p[0]) * family.scale();
    store(rss(family, p, scale), block_, first, out.rss);
    const auto row = [&](int i, Vector* out) {
      if constexpr (kKeeps) {
        for (int k = 0; k < kSize; ++k) out[k] = kept_[i * kKept + k];
      } else {
        jacobian(family, family.shape(block_.x[i]), scale, i, out);
      }
    };
    const Triangle<kSize> r(row, block_.n, held);
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j)
        store(r.inverse[i][j], block_, first, out.factor + static_cast<size_t>(i * kSize + j) * out.curves);
    around_mean(first, out);
  }

 private:
  // The rss; keeps the Jacobian's rows, or leaves them to be computed again.
  TSL_DEVICE Vector rss(const Family& family, const Vector* p, Vector scale) const {
    Vector rss{};
    for (int i = 0; i < block_.n; ++i) {
      const Shape s = family.shape(block_.x[i]);
      const Vector r = loss_[i] - (p[0] * s.e + p[1] * s.f);
      rss += weight_[i] * (r * r);
      if constexpr (kKeeps) {
        Vector row[kSize];
        jacobian(family, s, scale, i, row);
        for (int k = 0; k < kSize; ++k) kept_[i * kKept + k] = row[k];
      }
    }
    return rss;
  }

  TSL_DEVICE void jacobian(const Family& family, const Shape& shape, Vector scale, int i, Vector* out) const {
    const Row<kTheta> row = family.row(block_.x[i], sqrt(weight_[i]), shape, family.no_pivot());
    out[0] = row.e, out[1] = row.f;
    for (int k = 0; k < kTheta; ++k) out[2 + k] = row.g[k] * scale;
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
  const Columns loss_, weight_, kept_;  // kept: (n, kSize)
};

}  // namespace tsl_jax
