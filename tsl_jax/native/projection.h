// One pass over the losses: the best plateaus for theta, and theta's normal equations with the plateaus eliminated.
//
// Formulas, and their names, are those of tsl_jax.lm.projection.
#pragma once

#include "block.h"
#include "families.h"

namespace tsl_jax {

// Checkpoints whose shapes are computed ahead: each is one long chain of operations, of which a processor so overlaps many.
inline constexpr int kAhead = 16;

struct Bounds {
  Vector least, most;
};

// Theta with its best plateaus, and the normal equations there.
template <int kTheta>
struct Point {
  Vector theta[kTheta], anchor, low, high, rss;
  Vector on_low, on_high, between;  // sums of weight e, weight f and weight e f
  Vector normal[kTheta][kTheta], descent[kTheta];
};

struct Box {
  Vector d[2];
  Mask held[2];
};

// Minimise d'Ad - 2b'd over a box, in closed form: inside, or else on one of its four edges.
inline Box box_step(Vector a00, Vector a01, Vector a11, Vector b0, Vector b1, const Vector* least, const Vector* most) {
  const Vector det = positive(a00 * a11 - a01 * a01, a00 * a11);
  auto value = [&](Vector d0, Vector d1) { return d0 * (a00 * d0 + 2.0f * (a01 * d1 - b0)) + d1 * (a11 * d1 - 2.0f * b1); };
  Box best{{(a11 * b0 - a01 * b1) / det, (a00 * b1 - a01 * b0) / det}, {}};
  Vector *d = best.d;
  const Mask outside = ~((d[0] >= least[0]) & (d[0] <= most[0]) & (d[1] >= least[1]) & (d[1] <= most[1]));
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
  for (int i = 0; i < 2; ++i) best.held[i] = (d[i] <= least[i]) | (d[i] >= most[i]);
  return best;
}

// `loss` and `root`: (n), losses times the roots of their weights, and the roots. `scratch`: (n, 2 + kTheta).
template <class Family>
Point<Family::kTheta> project(const float* x, int n, const Vector* loss, const Vector* root, Bounds plateaus,
                              const Vector* theta, Vector low, Vector high, Vector* scratch) {
  constexpr int kTheta = Family::kTheta;
  const Family family(theta);
  Point<kTheta> point;
  point.anchor = family.anchor(x, n);
  Vector a00{}, a01{}, a11{}, b0{}, b1{}, c0[kTheta]{}, c1[kTheta]{};
  Shape ahead[kAhead];
  for (int i = 0; i < n; ++i) {
    if (i % kAhead == 0)
      for (int j = i; j < std::min(i + kAhead, n); ++j) ahead[j - i] = family.shape(x[j]);
    const Shape s = ahead[i % kAhead];
    Vector slopes[kTheta];
    family.slopes_of_steps(x[i], s, point.anchor, slopes);
    const Vector e = root[i] * s.e, f = root[i] * s.f;
    const Vector r = loss[i] - (low * e + high * f);
    Vector* kept = scratch + static_cast<size_t>(i) * (2 + kTheta);
    kept[0] = e;
    kept[1] = f;
    a00 += e * e;
    a01 += e * f;
    a11 += f * f;
    b0 += e * r;
    b1 += f * r;
    for (int k = 0; k < kTheta; ++k) {
      const Vector g = root[i] * slopes[k];
      kept[2 + k] = g;
      c0[k] += e * g;
      c1[k] += f * g;
    }
  }

  point.on_low = a00 + a01;  // as e + f = 1
  point.on_high = a01 + a11;
  point.between = a01;

  const Vector least[2] = {plateaus.least - low, plateaus.least - high};
  const Vector most[2] = {plateaus.most - low, plateaus.most - high};
  const Box box = box_step(a00, a01, a11, b0, b1, least, most);
  auto moved = [&](Vector p, int i) {
    const Vector free = p + box.d[i];
    const Vector bound = free - plateaus.least < plateaus.most - free ? plateaus.least : plateaus.most;
    return box.held[i] ? bound : free;
  };
  point.low = low = moved(low, 0);
  point.high = high = moved(high, 1);

  // The plateaus that are not held by a bound follow theta: take their part out of the slopes.
  a01 = (box.held[0] | box.held[1]) ? Vector{} : a01;
  a00 = box.held[0] ? splat(1) : a00;
  a11 = box.held[1] ? splat(1) : a11;
  const Vector inverse = 1.0f / positive(a00 * a11 - a01 * a01, a00 * a11);
  Vector along0[kTheta], along1[kTheta];
  for (int k = 0; k < kTheta; ++k) {
    const Vector p0 = box.held[0] ? Vector{} : c0[k], p1 = box.held[1] ? Vector{} : c1[k];
    along0[k] = (a11 * p0 - a01 * p1) * inverse;
    along1[k] = (a00 * p1 - a01 * p0) * inverse;
  }
  Vector rss{}, normal[kTheta][kTheta]{}, descent[kTheta]{};
  for (int i = 0; i < n; ++i) {
    const Vector* kept = scratch + static_cast<size_t>(i) * (2 + kTheta);
    const Vector e = kept[0], f = kept[1], r = loss[i] - (low * e + high * f);
    rss += r * r;
    Vector g[kTheta];
    for (int k = 0; k < kTheta; ++k) {
      g[k] = kept[2 + k] - (along0[k] * e + along1[k] * f);
      descent[k] += g[k] * r;
      for (int j = 0; j <= k; ++j) normal[j][k] += g[j] * g[k];
    }
  }
  const Vector drop = high - low;
  point.rss = rss;
  for (int k = 0; k < kTheta; ++k) {
    point.theta[k] = theta[k];
    point.descent[k] = drop * descent[k];
    for (int j = 0; j <= k; ++j) point.normal[j][k] = point.normal[k][j] = drop * drop * normal[j][k];
  }
  return point;
}

}  // namespace tsl_jax
