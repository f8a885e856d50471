// The shapes of tsl_jax.curves: value, complement and slopes at one checkpoint, for a vector of curves.
#pragma once

#include "vector.h"

namespace tsl_jax {

// A family has `kTheta` parameters of its shape. It is made for one theta and then asked checkpoint by checkpoint:
// `f` is the shape, `e` its complement, `slopes_of_steps` the derivatives along the directions in which steps set out.

struct Shape {
  Vector f, e;
};

struct Sigmoid {  // f = 1 / (1 + exp(exp(theta1) (x - theta0)))
  static constexpr int kTheta = 2;
  Vector centre, sharpness;

  explicit Sigmoid(const Vector* theta) : centre(theta[0]), sharpness(exp(theta[1])) {}

  Shape shape(float x) const {
    const Vector logit = clip(sharpness * (x - centre), splat(-30.0f), splat(30.0f));
    const Vector odds = Exponential(logit).value();
    const Vector f = 1.0f / (1.0f + odds);
    return {f, odds * f};
  }

  // Along the steps of `move`, which hold the logit of the checkpoint at centre + anchor while sharpness changes.
  void slopes_of_steps(float x, const Shape& s, Vector anchor, Vector* out) const {
    const Vector bump = sharpness * s.e * s.f;
    out[0] = bump;
    out[1] = (anchor + (centre - x)) * bump;
  }

  // Distance from the centre to the nearest checkpoint.
  Vector anchor(const float* x, int n) const {
    Vector nearest = splat(x[0]);
    for (int i = 1; i < n; ++i) nearest = centre > (x[i] + x[i - 1]) / 2 ? splat(x[i]) : nearest;
    return nearest - centre;
  }

  static void move(Vector anchor, const Vector* theta, const Vector* step, Vector* out) {
    out[0] = theta[0] + anchor - (anchor - step[0]) * exp(-step[1]);
    out[1] = theta[1] + step[1];
  }
};

// Families of one parameter walk along it.
struct OneParameter {
  static constexpr int kTheta = 1;
  Vector rate;

  explicit OneParameter(const Vector* theta) : rate(exp(theta[0])) {}
  Vector anchor(const float*, int) const { return Vector{}; }
  static void move(Vector, const Vector* theta, const Vector* step, Vector* out) { out[0] = theta[0] + step[0]; }
};

struct Hyperbola : OneParameter {  // f = 1 / (1 + exp(theta) x)
  using OneParameter::OneParameter;

  Shape shape(float x) const {
    const Vector q = rate * x, f = 1.0f / (1.0f + q);
    return {f, q * f};
  }
  void slopes_of_steps(float, const Shape& s, Vector, Vector* out) const { out[0] = -s.e * s.f; }
};

struct PowerLaw : OneParameter {  // f = exp(-exp(theta) x)
  using OneParameter::OneParameter;

  Shape shape(float x) const {
    const Exponential power(max(-rate * x, splat(-87.0f)));
    return {power.value(), -power.minus_one()};
  }
  void slopes_of_steps(float x, const Shape& s, Vector, Vector* out) const { out[0] = -rate * x * s.f; }
};

}  // namespace tsl_jax
