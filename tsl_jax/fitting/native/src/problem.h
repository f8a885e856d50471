// What fits of one block share, and where their results go.
#pragma once

#include "steps.h"
#include "templates.h"

namespace tsl_jax {

struct Result {
  int curves;           // of the whole block
  float* coefficients;  // (2 + theta, curves): low, high, theta
  bool* active;         // (2 + theta, curves): on a bound
  bool* converged;      // (curves)
  int32_t* passes;      // (curves): over the losses, from all starts

  Result rows(int first) const {
    return {curves, coefficients + first, active + first, converged + first, passes + first};
  }
};

// What fits of one family at the same checkpoints share.
struct Problem {
  const float *lower, *upper;  // (theta): its bounds
  const float* grid;           // (templates, theta)
  Templates templates;
  Method method;
};

}  // namespace tsl_jax
