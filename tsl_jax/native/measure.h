// What is said of finished fits: tsl_jax.lm.statistics.measure, one vector of curves at a time.
#pragma once

#include <cmath>

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
  Triangle(Vector* columns, int n, const Mask* held) {
    Vector squares[kSize]{}, before[kSize];
    for (int i = 0; i < n; ++i)
      for (int k = 0; k < kSize; ++k) squares[k] += columns[i * kSize + k] * columns[i * kSize + k];
    for (int k = 0; k < kSize; ++k) before[k] = norm(squares[k]);
    for (int k = 0; k < kSize; ++k) {
      Vector square{};
      for (int i = 0; i < n; ++i) square += columns[i * kSize + k] * columns[i * kSize + k];
      const Vector length = norm(square);
      const Mask dependent = length <= 30 * kEps * before[k];
      upper[k][k] = held[k] ? splat(1) : dependent ? splat(NAN) : length;
      take_out(columns, n, k, held, held[k] ? Vector{} : 1.0f / length);
    }
    invert(held);
  }

 private:
  static Vector norm(Vector square) { return sqrt(max(square, splat(kTiny))); }

  // Column k to its unit length, and its part out of the later ones.
  void take_out(Vector* columns, int n, int k, const Mask* held, Vector scale) {
    for (int i = 0; i < n; ++i) {
      Vector* row = columns + i * kSize;
      row[k] *= scale;
      for (int j = k + 1; j < kSize; ++j) upper[k][j] += row[k] * row[j];
    }
    for (int j = k + 1; j < kSize; ++j) upper[k][j] = held[j] ? Vector{} : upper[k][j];
    for (int i = 0; i < n; ++i) {
      Vector* row = columns + i * kSize;
      for (int j = k + 1; j < kSize; ++j) row[j] -= upper[k][j] * row[k];
    }
  }

  void invert(const Mask* held) {
    for (int j = 0; j < kSize; ++j) {
      inverse[j][j] = held[j] ? Vector{} : 1.0f / upper[j][j];
      for (int i = j - 1; i >= 0; --i) {
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
  explicit Measurer(const Block& block) : block_(block), loss_(block.n), weight_(block.n), columns_(block.n * kSize) {}

  void run(const Solution& solution, const Measures& out) {
    for (int first = 0; first < block_.curves; first += kLanes) strip(first, solution, out);
  }

 private:
  void strip(int first, const Solution& solution, const Measures& out) {
    load_strip(block_.loss, block_, first, 1, loss_.data());
    load_strip(block_.weight, block_, first, 1, weight_.data());
    Vector p[kSize];
    Mask held[kSize];
    for (int k = 0; k < kSize; ++k) {
      const size_t row = static_cast<size_t>(k) * solution.curves;
      p[k] = load(solution.coefficients + row, block_, first);
      for (int lane = 0; lane < kLanes; ++lane)
        held[k][lane] = solution.held[row + std::min(first + lane, block_.curves - 1)] ? -1 : 0;
    }
    store(fill_columns(p), block_, first, out.rss);
    const Triangle<kSize> r(columns_.data(), block_.n, held);
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j)
        store(r.inverse[i][j], block_, first, out.factor + static_cast<size_t>(i * kSize + j) * out.curves);
    around_mean(first, out);
  }

  // The weighted Jacobian, and the rss.
  Vector fill_columns(const Vector* p) {
    const Family family(p + 2);
    const Vector drop = p[1] - p[0];
    Vector rss{};
    for (int i = 0; i < block_.n; ++i) {
      const Shape s = family.shape(block_.x[i]);
      const Vector root = sqrt(weight_[i]), r = loss_[i] - (p[0] * s.e + p[1] * s.f);
      rss += weight_[i] * (r * r);
      Vector* column = &columns_[i * kSize];
      family.slopes_of_steps(block_.x[i], s, Vector{}, column + 2);  // without an anchor those by theta itself
      column[0] = root * s.e;
      column[1] = root * s.f;
      for (int k = 2; k < kSize; ++k) column[k] *= root * drop;
    }
    return rss;
  }

  // The mean in two passes: one alone loses as many of float32's digits as there are digits in n.
  void around_mean(int first, const Measures& out) const {
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
  Columns loss_, weight_, columns_;
};

}  // namespace tsl_jax
