// Sums over the losses of finished fits: tsl_jax.fitting.measures.measure_block, one vector of curves at a time.
#pragma once

#include "block.h"
#include "families.h"
#include "noise.h"
#include "whitening.h"

namespace tsl_jax {

struct Solution {
  int curves;                 // of the whole block
  const float* coefficients;  // (2 + theta, curves): low, high, theta
  const bool* held;           // (2 + theta, curves)

  Solution rows(int first) const { return {curves, coefficients + first, held + first}; }
};

struct Measures {
  int curves;
  float *factor, *meat;  // (2 + theta, 2 + theta, curves)
  float *rss, *constant, *tss, *white_rss, *white_gain, *second_gain, *long_run, *correlation, *deviation;  // (curves)

  Measures rows(int first) const {
    return {curves,
            factor + first,
            meat + first,
            rss + first,
            constant + first,
            tss + first,
            white_rss + first,
            white_gain + first,
            second_gain + first,
            long_run + first,
            correlation + first,
            deviation + first};
  }
};

// Constants of the method, by the names of tsl_jax.fitting.measures.
struct MeasureMethod {
  NoiseMethod noise;
  WhiteningMethod whitening;
  float dependent, least_step;
};

// The columns of the Jacobian by (low, high, theta), times the roots of the weights, made orthonormal by modified
// Gram-Schmidt: R is its upper triangle. In each sweep over the rows one more column is taken out of the others.
template <int kSize>
struct Triangle {
  Vector upper[kSize][kSize]{}, inverse[kSize][kSize]{};
  Vector scale[kSize];
  Mask left_out[kSize];  // held, or dependent on the columns before

  // row(i, columns) gives the row of checkpoint i.
  template <class Row>
  TSL_DEVICE Triangle(const Row& row, int n, const Mask* held, float dependent) {
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
      const Mask undetermined = negated(held[k]) & (length <= dependent * kEps * before[k]);
      left_out[k] = held[k] | undetermined;
      upper[k][k] = held[k] ? splat(1) : undetermined ? splat(__builtin_nanf("")) : length;
      scale[k] = left_out[k] ? Vector{} : 1.0f / length;
      TSL_UNROLL for (int j = k + 1; j < kSize; ++j) upper[k][j] = scale[k] * dots[j];
    }
    invert(held);
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

  TSL_DEVICE void invert(const Mask* held) {
    TSL_UNROLL for (int j = 0; j < kSize; ++j) {
      inverse[j][j] = held[j] ? Vector{} : 1.0f / upper[j][j];
      TSL_UNROLL for (int i = j - 1; i >= 0; --i) {
        Vector sum{};
        for (int k = i + 1; k <= j; ++k) sum += upper[i][k] * (left_out[k] ? Vector{} : inverse[k][j]);
        inverse[i][j] = left_out[i] | left_out[j] ? Vector{} : -sum / upper[i][i];
      }
    }
  }
};

template <class Family>
class Measurer {
  static constexpr int kTheta = Family::kTheta, kSize = 2 + kTheta;
  static constexpr int kRow = kSize + 2;  // a row of the Jacobian, the residual and the root of the weight
  static constexpr int kKept = kKeeps ? kSize : 0;

 public:
  // Vectors of memory that it needs.
  static int memory(int n) { return (3 + kKept) * n; }

  TSL_DEVICE Measurer(const Block& block, const Assumed& assumed, const MeasureMethod& method, Memory& memory)
      : block_(block), assumed_(assumed), method_(method), loss_(memory.take(block.n)), weight_(memory.take(block.n)),
        residual_(memory.take(block.n)), kept_(memory.take(block.n * kKept)) {}

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
    const auto whole_row = [&](int i, Vector* out) {
      if constexpr (kKeeps) {
        for (int k = 0; k < kSize; ++k) out[k] = kept_[i * kKept + k];
        out[kSize] = residual_[i], out[kSize + 1] = weight_[i];
      } else {
        row(family, p, scale, i, out);
      }
    };
    const Vector total = around_mean(first, out);
    const NoiseSums sums = residuals(family, p, scale, first, out);
    const auto jacobian = [&](int i, Vector* out) {
      if constexpr (kKeeps) {
        for (int k = 0; k < kSize; ++k) out[k] = kept_[i * kKept + k];
      } else {
        Vector all[kRow];
        row(family, p, scale, i, all);
        for (int k = 0; k < kSize; ++k) out[k] = all[k];
      }
    };
    const Triangle<kSize> r(jacobian, block_.n, held, method_.dependent);
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j) store(r.inverse[i][j], block_, first, place(out.factor, i, j, out.curves));
    const CurveNoise noise(assumed_, method_.noise, kSize, sums);
    store(noise.correlation, block_, first, out.correlation);
    store(noise.deviation, block_, first, out.deviation);
    sandwich(whole_row, r, noise, total, sums.number, first, out);
  }

 private:
  static TSL_DEVICE float* place(float* matrix, int i, int j, int curves) {
    return matrix + static_cast<size_t>(i * kSize + j) * curves;
  }

  // The mean in two passes: one alone loses as many of float32's digits as there are digits in n. Returns the sum of
  // the weights.
  TSL_DEVICE Vector around_mean(int first, const Measures& out) const {
    Vector total{}, sum{}, rest{}, tss{};
    for (int i = 0; i < block_.n; ++i) total += weight_[i], sum += weight_[i] * loss_[i];
    const Vector unit = total > 0.0f ? 1.0f / total : splat(1), about = sum * unit;
    for (int i = 0; i < block_.n; ++i) {
      const Vector apart = loss_[i] - about;
      rest += weight_[i] * apart;
      tss += weight_[i] * apart * apart;
    }
    store(about + rest * unit, block_, first, out.constant);
    store(tss - rest * rest * unit, block_, first, out.tss);
    return total;
  }

  // z of tsl_jax.fitting.measures.leaning.
  TSL_DEVICE float leaning(int i) const { return block_.n > 1 ? 2.0f * i / (block_.n - 1) - 1.0f : -1.0f; }

  // Row i of the Jacobian, its residual and the root of its weight, all but the last times that root.
  TSL_DEVICE void row(const Family& family, const Vector* p, Vector scale, int i, Vector* out) const {
    const Shape s = family.shape(block_.x[i]);
    const Vector root = sqrt(weight_[i]);
    const Row<kTheta> row = family.row(block_.x[i], root, s, family.no_pivot());
    out[0] = row.e, out[1] = row.f;
    for (int k = 0; k < kTheta; ++k) out[2 + k] = row.g[k] * scale;
    out[kSize] = root * (loss_[i] - (p[0] * s.e + p[1] * s.f));
    out[kSize + 1] = root;
  }

  // Sums over the residuals; keeps the rows, or leaves them to be computed again. Weights are not read after it.
  TSL_DEVICE NoiseSums residuals(const Family& family, const Vector* p, Vector scale, int first,
                                 const Measures& out) const {
    Vector rss{}, before{};
    NoiseSums sums;
    for (int i = 0; i < block_.n; ++i) {
      Vector all[kRow];
      row(family, p, scale, i, all);
      rss += all[kSize] * all[kSize];
      const Mask measured = weight_[i] > 0.0f;
      if constexpr (kKeeps) {
        for (int k = 0; k < kSize; ++k) kept_[i * kKept + k] = all[k];
        residual_[i] = all[kSize], weight_[i] = all[kSize + 1];
      }
      const Vector e = all[kSize] * (1.0f / assumed_.std[i]), size = abs(e);
      sums.number += measured ? splat(1) : Vector{};
      sums.squares += e * e;
      sums.lagged += before * e;
      sums.magnitudes += size;
      sums.leaned += leaning(i) * size;
      before = measured ? e : before;
    }
    store(rss, block_, first, out.rss);
    return sums;
  }

  // The noise's covariance between the columns of Q, by one recursion over checkpoints; and, in the same pass, what the
  // curve explains where the noise is taken out, and what the best step in the residuals explains beyond the curve.
  template <class WholeRow>
  TSL_DEVICE void sandwich(const WholeRow& whole_row, const Triangle<kSize>& r, const CurveNoise& noise, Vector total,
                           Vector number, int first, const Measures& out) const {
    Vector half[kSize][kSize]{}, carried[kSize]{}, half_mean{}, carried_mean{}, variance{};
    Vector passed[kSize]{}, along{}, square{}, best{}, best_left = splat(1);
    const Vector fewest = method_.least_step * total / max(number, splat(1));
    const Vector constant = load(out.constant, block_, first);
    Whitening whitening(assumed_, method_.noise, method_.whitening, noise, block_.n);
    Vector growing = exp(-noise.growth), rho{};
    const Vector faster = exp(noise.growth * (2.0f / (block_.n > 1 ? block_.n - 1 : 1)));
    for (int i = 0; i < block_.n; ++i) {
      Vector q[kRow];
      whole_row(i, q);
      const Vector root = q[kSize + 1], residual = q[kSize];
      Vector white[3];
      whitening.add(i, root, root * (loss_[i] - constant), residual, white);
      loss_[i] = white[0], weight_[i] = white[1], residual_[i] = white[2];
      r.orthonormal(q);
      if (i == 0 || assumed_.odds[i] != assumed_.odds[i - 1]) {
        const Vector odds = assumed_.odds[i] * noise.odds;
        rho = (odds - 1.0f) / (odds + 1.0f);
      }
      const Vector std = assumed_.std[i] * growing;
      growing *= faster;
      variance += root > 0.0f ? std * std : Vector{};
      const Vector mean = root * std;
      carried_mean *= rho;
      half_mean += mean * (carried_mean + 0.5f * mean);
      carried_mean += mean;
      Vector left = square += root * root;
      TSL_UNROLL for (int k = 0; k < kSize; ++k) {
        passed[k] += root * q[k];
        left -= passed[k] * passed[k];
      }
      along += root * residual;
      const Vector gain = along * along;
      const Mask better = (left >= fewest) & (gain * best_left > best * left);
      best = better ? gain : best;
      best_left = better ? left : best_left;
      Vector after[kSize];
      TSL_UNROLL for (int k = 0; k < kSize; ++k) {
        q[k] *= std;
        carried[k] *= rho;
        after[k] = carried[k] + 0.5f * q[k];
        carried[k] += q[k];
      }
      TSL_UNROLL for (int j = 0; j < kSize; ++j)
        TSL_UNROLL for (int k = 0; k < kSize; ++k) half[j][k] += q[j] * after[k];
    }
    const Vector unit = variance > 0.0f ? number / variance : splat(1);
    for (int j = 0; j < kSize; ++j)
      for (int k = 0; k < kSize; ++k)
        store((half[j][k] + half[k][j]) * unit, block_, first, place(out.meat, j, k, out.curves));
    store(total > 0.0f ? 2.0f * half_mean * unit / total : splat(1), block_, first, out.long_run);
    store(whitening.rss(), block_, first, out.white_rss);
    WhiteGain gain(method_.whitening, whitening);
    for (int i = 0; i < block_.n; ++i) gain.add(loss_[i], weight_[i], residual_[i]);
    store(gain.value(), block_, first, out.white_gain);
    store(best / best_left, block_, first, out.second_gain);
  }

  const Block& block_;
  const Assumed assumed_;
  const MeasureMethod method_;
  // Kept: rows of the Jacobian (n, kSize) and residuals; then roots take the places of the weights, and what is
  // whitened those of losses, roots and residuals.
  mutable Columns loss_, weight_, residual_, kept_;
};

}  // namespace tsl_jax
