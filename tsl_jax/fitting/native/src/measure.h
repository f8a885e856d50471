// Sums over the losses of finished fits: tsl_jax.fitting.measures.measure_block, one vector of curves at a time.
#pragma once

#include "families.h"
#include "measures.h"
#include "sandwich.h"
#include "triangle.h"

namespace tsl_jax {

template <class Family>
class Measurer {
  static constexpr int kTheta = Family::kTheta, kSize = 2 + kTheta;
  static constexpr int kRow = kSize + 2;  // a row of the Jacobian, the residual and the root of the weight
  static constexpr int kKept = kKeeps ? kSize : 2;

 public:
  // Vectors of memory that it needs.
  static int memory(int n) { return (3 + kKept) * n; }

  TSL_DEVICE Measurer(const Block& block, const Assumed& assumed, const MeasureMethod& method, Memory& memory)
      : block_(block), assumed_(assumed), method_(method), loss_(memory.take(block.n)), weight_(memory.take(block.n)),
        residual_(memory.take(block.n)), kept_(memory.take(block.n * kKept)) {}

  // For a vector of curves from the first on.
  TSL_DEVICE void run(int first, const Solution& solution, const Measures& out) const {
    const Curves<kLanes> curves(block_, first);
    load_strip(block_.loss, block_.n, curves.at, 1, loss_);
    load_strip(block_.weight, block_.n, curves.at, 1, weight_);
    Vector p[kSize];
    Mask active[kSize];
    for (int k = 0; k < kSize; ++k) {
      const size_t row = static_cast<size_t>(k) * solution.curves;
      p[k] = load_some(solution.coefficients + row, curves.at);
      for (int lane = 0; lane < kLanes; ++lane)
        at(active[k], lane) = solution.active[row + curves.at[lane]] ? kTrue : 0;
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
    Triangle<kSize> r;
    const NoiseSums sums = residuals(family, p, scale, first, out, &r);
    const auto jacobian = [&](int i, Vector* out) {
      if constexpr (kKeeps) {
        for (int k = 0; k < kSize; ++k) out[k] = kept_[i * kKept + k];
      } else {
        Vector all[kRow];
        row(family, p, scale, i, all);
        for (int k = 0; k < kSize; ++k) out[k] = all[k];
      }
    };
    const auto keep = [&](int i, const Vector* row) {
      if constexpr (kKeeps)
        for (int k = 0; k < kSize; ++k) kept_[i * kKept + k] = row[k];
    };
    r.complete(jacobian, keep, block_.n, active, method_.dependent);
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j) store(r.inverse[i][j], block_, first, place(out.factor, i, j, out.curves));
    const CurveNoise noise(assumed_, method_.noise, kSize, sums);
    store(noise.correlation, block_, first, out.correlation);
    store(noise.deviation, block_, first, out.deviation);
    // The row of Q in the place of that of the Jacobian; kept from the first pass on.
    const auto orthonormal_row = [&](int i, Vector* out) {
      whole_row(i, out);
      if constexpr (!kKeeps) r.orthonormal(out);
    };
    BestStep<kSize> step(method_.step, total, sums.number);
    sandwich(whole_row, r, noise, total, sums.number, &step, first, out);
    const CurveNoise beside_step = noise_beside(step, orthonormal_row, noise);
    const auto root_and_residual = [&](int i, Vector* root, Vector* residual) {
      if constexpr (kKeeps) {
        *root = weight_[i], *residual = residual_[i];
      } else {
        Vector all[kRow];
        row(family, p, scale, i, all);
        *root = all[kSize + 1], *residual = all[kSize];
      }
    };
    whiten(root_and_residual, noise, beside_step, first, out);
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
                                 const Measures& out, Triangle<kSize>* triangle) const {
    Vector rss{};
    NoiseSums sums;
    for (int i = 0; i < block_.n; ++i) {
      Vector all[kRow];
      row(family, p, scale, i, all);
      rss += all[kSize] * all[kSize];
      triangle->add(all);
      const Mask measured = weight_[i] > 0.0f;
      if constexpr (kKeeps) {
        for (int k = 0; k < kSize; ++k) kept_[i * kKept + k] = all[k];
        residual_[i] = all[kSize], weight_[i] = all[kSize + 1];
      }
      sums.add(all[kSize] * (1.0f / assumed_.std[i]), measured, leaning(i));
      fetch_rows(block_, first + kLanes, kLanes, i, block_.n);
    }
    store(rss, block_, first, out.rss);
    return sums;
  }

  // The noise's covariance between the columns of Q and, in the same pass, the best step in the residuals. Puts rows of Q
  // where those of the Jacobian are kept.
  template <class WholeRow>
  TSL_DEVICE void sandwich(const WholeRow& whole_row, const Triangle<kSize>& r, const CurveNoise& noise, Vector total,
                           Vector number, BestStep<kSize>* step, int first, const Measures& out) const {
    Sandwich<kSize> sums(assumed_, noise, block_.n);
    for (int i = 0; i < block_.n; ++i) {
      Vector q[kRow];
      whole_row(i, q);
      r.orthonormal(q);
      step->add(i, q[kSize + 1], q[kSize], q);
      if constexpr (kKeeps)
        for (int k = 0; k < kSize; ++k) kept_[i * kKept + k] = q[k];
      sums.add(i, q[kSize + 1], q);
    }
    for (int j = 0; j < kSize; ++j)
      for (int k = j; k < kSize; ++k) {
        const Vector between = sums.between(j, k, number);
        store(between, block_, first, place(out.meat, j, k, out.curves));
        if (k != j) store(between, block_, first, place(out.meat, k, j, out.curves));
      }
    store(sums.long_run(total, number), block_, first, out.long_run);
  }

  // The noise of what the best step leaves of the residuals, or theirs where there are too few points. Puts the step's column in the first of the kept ones.
  template <class Row>
  TSL_DEVICE CurveNoise noise_beside(const BestStep<kSize>& step, const Row& orthonormal_row,
                                     const CurveNoise& noise) const {
    const Vector height = step.height();
    NoiseSums sums;
    for (int i = 0; i < block_.n; ++i) {
      Vector q[kRow];
      orthonormal_row(i, q);
      const Vector root = q[kSize + 1], column = step.column(i, root, q);
      sums.add((q[kSize] - height * column) * (1.0f / assumed_.std[i]), root > 0.0f, leaning(i));
      kept_[i * kKept] = column;
    }
    const int size = kSize + method_.step.parameters;
    CurveNoise beside(assumed_, method_.noise, size, sums);
    const Mask enough = sums.number >= static_cast<float>(method_.noise.points_a_parameter * size);
    beside.correlation = enough ? beside.correlation : noise.correlation;
    beside.deviation = enough ? beside.deviation : noise.deviation;
    beside.growth = enough ? beside.growth : noise.growth;
    beside.odds = enough ? beside.odds : noise.odds;
    return beside;
  }

  // What the curve explains where the noise is taken out, and what the best step explains beyond it.
  template <class Row>
  TSL_DEVICE void whiten(const Row& root_and_residual, const CurveNoise& noise, const CurveNoise& beside_step, int first,
                         const Measures& out) const {
    const Vector constant = load_some(out.constant, Curves<kLanes>(block_, first).at);
    Whitening<3> of_event(assumed_, method_.noise, method_.whitening, noise, method_.caution, block_.n);
    Whitening<2> of_step(assumed_, method_.noise, method_.whitening, beside_step, method_.second_caution, block_.n);
    EventSums event;
    StepSums second;
    for (int i = 0; i < block_.n; ++i) {
      Vector root, residual;
      root_and_residual(i, &root, &residual);
      Vector white[3] = {root * (loss_[i] - constant), root, residual};
      Vector beside[2] = {residual, kept_[i * kKept]};
      const Mask measured = root > 0.0f;
      const bool everywhere = !any(negated(measured));
      of_event.add(i, measured, everywhere, white);
      of_step.add(i, measured, everywhere, beside);
      event.add(white);
      second.add(beside);
      loss_[i] = white[0], weight_[i] = white[1], residual_[i] = white[2];
      kept_[i * kKept] = beside[0], kept_[i * kKept + 1] = beside[1];
    }
    EventGain gain(method_.whitening, event);
    StepGain step_gain(method_.whitening, second);
    for (int i = 0; i < block_.n; ++i) {
      gain.add(loss_[i], weight_[i], residual_[i]);
      step_gain.add(kept_[i * kKept], kept_[i * kKept + 1]);
    }
    store(event.rss, block_, first, out.white_rss);
    store(gain.value(), block_, first, out.white_gain);
    store(step_gain.rss(), block_, first, out.second_rss);
    store(step_gain.value(), block_, first, out.second_gain);
  }

  const Block& block_;
  const Assumed assumed_;
  const MeasureMethod method_;
  // Kept: rows of the Jacobian (n, kSize), or else a column for the step and one more, and residuals. Roots take the
  // places of the weights, rows of Q and the step's column those of the Jacobian, and what is whitened those of all.
  mutable Columns loss_, weight_, residual_, kept_;
};

}  // namespace tsl_jax
