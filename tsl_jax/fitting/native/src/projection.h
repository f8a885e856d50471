// One pass over the losses: the best plateaus for theta, and theta's normal equations with the plateaus eliminated.
//
// Formulas, and their names, are those of tsl_jax.fitting.xla.projection.
#pragma once

#include "block.h"
#include "families.h"

namespace tsl_jax {

// Checkpoints whose shapes are computed ahead: each is one long chain of operations, of which many so overlap. On a GPU
// other threads fill the time.
inline constexpr int kAhead = kLanes > 1 ? 16 : 1;

struct Bounds {
  Vector least, most;
};

// Theta with its best plateaus, and the normal equations there.
template <int kTheta>
struct Point {
  Vector theta[kTheta], pivot, low, high, rss;
  Vector on_low, on_high, between;  // sums of weight e, weight f and weight e f
  Vector normal[kTheta][kTheta], negative_half_gradient[kTheta];
};

struct Box {
  Vector d[2];
  Mask active[2];
};

// Minimise d'Ad - 2b'd over a box, in closed form: inside, or else on one of its four edges.
TSL_DEVICE inline Box box_step(Vector a00, Vector a01, Vector a11, Vector b0, Vector b1, const Vector* least,
                               const Vector* most) {
  const Vector det = positive(a00 * a11 - a01 * a01, a00 * a11);
  const auto value = [&](Vector d0, Vector d1) {
    return d0 * (a00 * d0 + 2.0f * (a01 * d1 - b0)) + d1 * (a11 * d1 - 2.0f * b1);
  };
  Box best{{(a11 * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det}, {}};
  Vector* d = best.d;
  const Mask outside = negated((d[0] >= least[0]) & (d[0] <= most[0]) & (d[1] >= least[1]) & (d[1] <= most[1]));
  if (any(outside)) {
    Vector best_value = splat(kInfinity);
    const Vector own[2] = {b1, b0}, diagonal[2] = {a11, a00};
    for (int axis = 0; axis < 2; ++axis) {
      for (const Vector fixed : {least[axis], most[axis]}) {
        const Vector free = clip((own[axis] - a01 * fixed) / positive(diagonal[axis], diagonal[axis]), least[1 - axis],
                                 most[1 - axis]);
        const Vector d0 = axis == 0 ? fixed : free, d1 = axis == 0 ? free : fixed;
        const Vector edge = value(d0, d1);
        const Mask better = outside & (edge < best_value);
        d[0] = better ? d0 : d[0];
        d[1] = better ? d1 : d[1];
        best_value = better ? edge : best_value;
      }
    }
  }
  for (int i = 0; i < 2; ++i) best.active[i] = (d[i] <= least[i]) | (d[i] >= most[i]);
  return best;
}

// The losses of a vector of curves, one checkpoint after the other, and theta's normal equations there.
template <class Family>
class Projection {
  static constexpr int kTheta = Family::kTheta, kKept = kKeeps ? 2 + kTheta : 0;

 public:
  // Vectors of memory that it needs.
  static int memory(int n) { return (2 + kKept) * n; }

  TSL_DEVICE Projection(const float* x, int n, Memory& memory)
      : x_(x), n_(n), rooted_(memory.take(2 * n)), kept_(memory.take(n * kKept)) {}

  TSL_DEVICE Columns rooted() const { return rooted_; }  // (n, 2): losses times the roots of their weights, those roots

  // The plateaus are solved for as a correction to `low` and `high`.
  TSL_DEVICE Point<kTheta> project(const Vector* theta, Vector low, Vector high, Bounds plateaus) const {
    const Family family(theta);
    Point<kTheta> point;
    for (int k = 0; k < kTheta; ++k) point.theta[k] = theta[k];
    point.pivot = family.pivot(x_, n_);
    const Sums s = sums(family, point.pivot, low, high);
    point.on_low = s.a00 + s.a01;  // as e + f = 1
    point.on_high = s.a01 + s.a11;
    point.between = s.a01;
    const Vector least[2] = {plateaus.least - low, plateaus.least - high};
    const Vector most[2] = {plateaus.most - low, plateaus.most - high};
    const Box box = box_step(s.a00, s.a01, s.a11, s.b0, s.b1, least, most);
    const auto moved = [&](Vector p, int i) {
      const Vector free = p + box.d[i];
      const Vector bound = free - plateaus.least < plateaus.most - free ? plateaus.least : plateaus.most;
      return box.active[i] ? bound : free;
    };
    point.low = moved(low, 0);
    point.high = moved(high, 1);
    eliminate(family, s, box.active, &point);
    return point;
  }

 private:
  struct Sums {  // of products of e, f with one another, with the residuals and with the slopes over their scale
    Vector a00, a01, a11, b0, b1, c0[kTheta], c1[kTheta];
  };

  // Keeps the rows, or leaves them to be computed again.
  TSL_DEVICE Sums sums(const Family& family, Vector pivot, Vector low, Vector high) const {
    Sums s{};
    Shape ahead[kAhead];
    Columns rooted = rooted_, kept = kept_;
    for (int i = 0; i < n_; ++i, rooted = rooted.from(2), kept = kept.from(kKept)) {
      if (kAhead > 1 && i % kAhead == 0)
        for (int j = i; j < min(i + kAhead, n_); ++j) ahead[j - i] = family.shape(x_[j]);
      const Shape shape = kAhead > 1 ? ahead[i % kAhead] : family.shape(x_[i]);
      const Row<kTheta> at = family.row(x_[i], rooted[1], shape, pivot);
      const Vector r = rooted[0] - (low * at.e + high * at.f);
      if constexpr (kKeeps) {
        kept[0] = at.e;
        kept[1] = at.f;
        for (int k = 0; k < kTheta; ++k) kept[2 + k] = at.g[k];
      }
      s.a00 += at.e * at.e;
      s.a01 += at.e * at.f;
      s.a11 += at.f * at.f;
      s.b0 += at.e * r;
      s.b1 += at.f * r;
      for (int k = 0; k < kTheta; ++k) {
        s.c0[k] += at.e * at.g[k];
        s.c1[k] += at.f * at.g[k];
      }
    }
    return s;
  }

  TSL_DEVICE static Row<kTheta> again(const Family& family, Vector pivot, float x, Columns rooted, Columns kept) {
    if constexpr (!kKeeps) return family.row(x, rooted[1], family.shape(x), pivot);
    Row<kTheta> row{kept[0], kept[1], {}};
    for (int k = 0; k < kTheta; ++k) row.g[k] = kept[2 + k];
    return row;
  }

  // The plateaus that are not on a bound follow theta: take their part out of the slopes.
  TSL_DEVICE void eliminate(const Family& family, const Sums& s, const Mask* active, Point<kTheta>* point) const {
    const Vector a01 = active[0] | active[1] ? Vector{} : s.a01;
    const Vector a00 = active[0] ? splat(1) : s.a00, a11 = active[1] ? splat(1) : s.a11;
    const Vector inverse = 1.0f / positive(a00 * a11 - a01 * a01, a00 * a11);
    Vector along0[kTheta], along1[kTheta];
    for (int k = 0; k < kTheta; ++k) {
      const Vector c0 = active[0] ? Vector{} : s.c0[k], c1 = active[1] ? Vector{} : s.c1[k];
      along0[k] = (a11 * c0 - a01 * c1) * inverse;
      along1[k] = (a00 * c1 - a01 * c0) * inverse;
    }
    const Vector low = point->low, high = point->high, scale = (high - low) * family.scale();
    Vector rss{}, normal[kTheta][kTheta]{}, negative_half_gradient[kTheta]{};
    Columns rooted = rooted_, kept = kept_;
    for (int i = 0; i < n_; ++i, rooted = rooted.from(2), kept = kept.from(kKept)) {
      const Row<kTheta> at = again(family, point->pivot, x_[i], rooted, kept);
      const Vector r = rooted[0] - (low * at.e + high * at.f);
      rss += r * r;
      Vector g[kTheta];
      for (int k = 0; k < kTheta; ++k) {
        g[k] = at.g[k] - (along0[k] * at.e + along1[k] * at.f);
        negative_half_gradient[k] += g[k] * r;
        for (int j = 0; j <= k; ++j) normal[j][k] += g[j] * g[k];
      }
    }
    point->rss = rss;
    for (int k = 0; k < kTheta; ++k) {
      point->negative_half_gradient[k] = scale * negative_half_gradient[k];
      for (int j = 0; j <= k; ++j) point->normal[j][k] = point->normal[k][j] = scale * scale * normal[j][k];
    }
  }

  const float* x_;
  int n_;
  const Columns rooted_, kept_;
};

}  // namespace tsl_jax
