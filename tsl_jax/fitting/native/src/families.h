// The shapes of tsl_jax.curves at one checkpoint, for a vector of curves.
#pragma once

#include "vector.h"

namespace tsl_jax {

// A family has `kTheta` parameters of its shape. It is made for one theta and then asked checkpoint by checkpoint.

struct Shape {  // and its complement
  Vector f, e;
};

// Shape, complement and slopes, all times the root of the checkpoint's weight, the slopes over `scale` of the family.
// Slopes are those in the directions in which steps set out: see `move`.
template <int kTheta>
struct Row {
  Vector e, f, g[kTheta];
};

struct Sigmoid {  // f = 1 / (1 + exp(exp(theta1) (x - theta0)))
  static constexpr int kTheta = 2;
  Vector centre, sharpness;

  TSL_DEVICE explicit Sigmoid(const Vector* theta) : centre(theta[0]), sharpness(exp(theta[1])) {}

  TSL_DEVICE Shape shape(float x) const {
    const Vector odds = exp_of_logit(clip(sharpness * (x - centre), splat(-30.0f), splat(30.0f)));
    const Vector f = reciprocal(1.0f + odds);
    return {f, odds * f};
  }

  TSL_DEVICE Row<2> row(float x, Vector root, const Shape& s, Vector pivot) const {
    const Vector e = root * s.e, bump = e * s.f;
    return {e, root * s.f, {bump, (pivot - x) * bump}};
  }
  TSL_DEVICE Vector scale() const { return sharpness; }

  // The checkpoint nearest to the centre: a step of theta1 leaves the logit there as it is.
  TSL_DEVICE Vector pivot(const float* x, int n) const { return nearest(x, n, centre); }
  TSL_DEVICE Vector no_pivot() const { return centre; }  // with which slopes are those by theta itself

  TSL_DEVICE static void move(Vector pivot, const Vector* theta, const Vector* step, Vector* out) {
    const Vector anchor = pivot - theta[0];
    out[0] = theta[0] + anchor - (anchor - step[0]) * exp(-step[1]);
    out[1] = theta[1] + step[1];
  }
};

// Families of one parameter walk along it.
struct OneParameter {
  static constexpr int kTheta = 1;
  Vector rate;

  TSL_DEVICE explicit OneParameter(const Vector* theta) : rate(exp(theta[0])) {}
  TSL_DEVICE Vector pivot(const float*, int) const { return Vector{}; }
  TSL_DEVICE Vector no_pivot() const { return Vector{}; }
  TSL_DEVICE static void move(Vector, const Vector* theta, const Vector* step, Vector* out) {
    out[0] = theta[0] + step[0];
  }
};

struct Hyperbola : OneParameter {  // f = 1 / (1 + exp(theta) x)
  using OneParameter::OneParameter;

  TSL_DEVICE Shape shape(float x) const {
    const Vector q = rate * x, f = reciprocal(1.0f + q);
    return {f, q * f};
  }
  TSL_DEVICE Row<1> row(float, Vector root, const Shape& s, Vector) const {
    const Vector e = root * s.e;
    return {e, root * s.f, {e * s.f}};
  }
  TSL_DEVICE Vector scale() const { return splat(-1); }
};

struct PowerLaw : OneParameter {  // f = exp(-exp(theta) x)
  using OneParameter::OneParameter;

  TSL_DEVICE Shape shape(float x) const {
    const Exponential power(max(-rate * x, splat(-87.0f)));
    return {power.value(), -power.minus_one()};
  }
  TSL_DEVICE Row<1> row(float x, Vector root, const Shape& s, Vector) const {
    const Vector f = root * s.f;
    return {root * s.e, f, {x * f}};
  }
  TSL_DEVICE Vector scale() const { return -rate; }
};

}  // namespace tsl_jax
