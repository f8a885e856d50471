// The Jacobian of a solution as Q R, and R's inverse: tsl_jax.fitting.measures.covariance_factor.
#pragma once

#include "vector.h"

namespace tsl_jax {

// The columns of the Jacobian by (low, high, theta), times the roots of the weights, made orthonormal by modified
// Gram-Schmidt: R is its upper triangle. In each sweep over the rows one more column is taken out of the others.
template <int kSize>
struct Triangle {
  Vector upper[kSize][kSize]{}, inverse[kSize][kSize]{};
  Vector scale[kSize];
  Mask left_out[kSize];  // on a bound, or dependent on the columns before

  // row(i, columns) gives the row of checkpoint i.
  template <class Row>
  TSL_DEVICE Triangle(const Row& row, int n, const Mask* active, float dependent) {
    Vector before[kSize];
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
      const Mask undetermined = negated(active[k]) & (length <= dependent * kEps * before[k]);
      left_out[k] = active[k] | undetermined;
      upper[k][k] = active[k] ? splat(1) : undetermined ? splat(__builtin_nanf("")) : length;
      scale[k] = left_out[k] ? Vector{} : 1.0f / length;
      TSL_UNROLL for (int j = k + 1; j < kSize; ++j) upper[k][j] = scale[k] * dots[j];
    }
    invert(active);
  }

  // The row of Q for a row of the Jacobian, in its place.
  TSL_DEVICE void orthonormal(Vector* c) const {
    TSL_UNROLL for (int m = 0; m < kSize; ++m) {
      c[m] *= scale[m];
      TSL_UNROLL for (int j = m + 1; j < kSize; ++j) c[j] -= upper[m][j] * c[m];
    }
  }

 private:
  TSL_DEVICE static Vector norm(Vector square) { return sqrt(max(square, splat(kTiny))); }

  TSL_DEVICE void invert(const Mask* active) {
    TSL_UNROLL for (int j = 0; j < kSize; ++j) {
      inverse[j][j] = active[j] ? Vector{} : 1.0f / upper[j][j];
      TSL_UNROLL for (int i = j - 1; i >= 0; --i) {
        Vector sum{};
        for (int k = i + 1; k <= j; ++k) sum += upper[i][k] * (left_out[k] ? Vector{} : inverse[k][j]);
        inverse[i][j] = left_out[i] | left_out[j] ? Vector{} : -sum / upper[i][i];
      }
    }
  }
};

}  // namespace tsl_jax
