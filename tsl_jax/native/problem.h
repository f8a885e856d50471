// What fits of one block share, and where their results go.
#pragma once

#include "steps.h"
#include "templates.h"

namespace tsl_jax {

struct Result {
  int curves;           // of the whole block
  float* coefficients;  // (2 + theta, curves): low, high, theta
  bool* held;           // (2 + theta, curves): on a bound
  bool* converged;      // (curves)
  int32_t* passes;      // (curves): over the losses, from all starts

  Result rows(int first) const {
    return {curves, coefficients + first, held + first, converged + first, passes + first};
  }
};

// What fits of one family at the same checkpoints share.
template <class Family>
struct Problem {
  Limits<Family::kTheta> limits;
  const float* grid;  // (templates, theta)
  Templates templates;
  Method method;

  Problem(const float* lower, const float* upper, const float* grid_, const float* shapes, int number, int n,
          const Method& method_)
      : grid(grid_), templates(shapes, number, n), method(method_) {
    for (int k = 0; k < Family::kTheta; ++k) limits.lower[k] = splat(lower[k]), limits.upper[k] = splat(upper[k]);
  }
};

}  // namespace tsl_jax
