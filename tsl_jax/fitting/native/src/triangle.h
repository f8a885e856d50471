// The Jacobian of a solution as Q R, and R's inverse: tsl_jax.fitting.measures.covariance_factor.
#pragma once

#include "vector.h"

namespace tsl_jax {

// The columns of the Jacobian by (low, high, theta), times the roots of the weights, made orthonormal by modified
// Gram-Schmidt: R is its upper triangle. In each sweep over the rows one more column is taken out of the others. Where
// rows are kept, what is left of them is.
template <int kSize>
class Triangle {
 public:
  Vector inverse[kSize][kSize]{};

  // The first sweep: the row of a checkpoint.
  TSL_DEVICE void add(const Vector* c) {
    TSL_UNROLL for (int j = 0; j < kSize; ++j) {
      dots_[j] += c[0] * c[j];
      before_[j] += c[j] * c[j];
    }
  }

  // The others. row(i, columns) gives the row of checkpoint i, keep(i, columns) keeps it.
  template <class Row, class Keep>
  TSL_DEVICE void complete(const Row& row, const Keep& keep, int n, const Mask* active, float dependent) {
    TSL_UNROLL for (int j = 0; j < kSize; ++j) before_[j] = norm(before_[j]);
    close(0, active, dependent);
    sweep<1>(row, keep, n, active, dependent);
    invert(active);
  }

  // The row of Q for what is left of a row, in its place.
  TSL_DEVICE void orthonormal(Vector* c) const {
    eliminate<kKeeps ? kSize - 1 : 0, kSize>(c);
  }

 private:
  // Takes the columns from kFirst to before kEnd, whose own rows of Q come in their place, out of those behind them.
  template <int kFirst, int kEnd>
  TSL_DEVICE void eliminate(Vector* c) const {
    TSL_UNROLL for (int m = kFirst; m < kEnd; ++m) {
      c[m] *= scale_[m];
      TSL_UNROLL for (int j = m + 1; j < kSize; ++j) c[j] -= upper_[m][j] * c[m];
    }
  }

  template <int kColumn, class Row, class Keep>
  TSL_DEVICE void sweep(const Row& row, const Keep& keep, int n, const Mask* active, float dependent) {
    if constexpr (kColumn < kSize) {
      Vector dots[kSize]{};
      for (int i = 0; i < n; ++i) {
        Vector c[kSize];
        row(i, c);
        eliminate<kKeeps ? kColumn - 1 : 0, kColumn>(c);
        keep(i, c);
        TSL_UNROLL for (int j = kColumn; j < kSize; ++j) dots[j] += c[kColumn] * c[j];
      }
      TSL_UNROLL for (int j = kColumn; j < kSize; ++j) dots_[j] = dots[j];
      close(kColumn, active, dependent);
      sweep<kColumn + 1>(row, keep, n, active, dependent);
    }
  }

  // Row k of R, of the sums of products of column k.
  TSL_DEVICE void close(int k, const Mask* active, float dependent) {
    const Vector length = norm(dots_[k]);
    const Mask undetermined = negated(active[k]) & (length <= dependent * kEps * before_[k]);
    left_out_[k] = active[k] | undetermined;
    upper_[k][k] = active[k] ? splat(1) : undetermined ? splat(__builtin_nanf("")) : length;
    scale_[k] = left_out_[k] ? Vector{} : 1.0f / length;
    TSL_UNROLL for (int j = k + 1; j < kSize; ++j) upper_[k][j] = scale_[k] * dots_[j];
  }

  TSL_DEVICE static Vector norm(Vector square) { return sqrt(max(square, splat(kTiny))); }

  TSL_DEVICE void invert(const Mask* active) {
    TSL_UNROLL for (int j = 0; j < kSize; ++j) {
      inverse[j][j] = active[j] ? Vector{} : 1.0f / upper_[j][j];
      TSL_UNROLL for (int i = j - 1; i >= 0; --i) {
        Vector sum{};
        for (int k = i + 1; k <= j; ++k) sum += upper_[i][k] * (left_out_[k] ? Vector{} : inverse[k][j]);
        inverse[i][j] = left_out_[i] | left_out_[j] ? Vector{} : -sum / upper_[i][i];
      }
    }
  }

  Vector upper_[kSize][kSize]{}, scale_[kSize]{}, dots_[kSize]{};
  Vector before_[kSize]{};  // the columns' lengths before anything is taken out of them
  Mask left_out_[kSize]{};  // on a bound, or dependent on the columns before
};

}  // namespace tsl_jax
