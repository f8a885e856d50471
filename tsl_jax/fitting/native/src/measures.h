// What is measured of solved curves, and where it goes: tsl_jax.fitting.measures.
#pragma once

#include "block.h"
#include "second_event.h"

namespace tsl_jax {

struct Solution {
  int curves;                 // of the whole block
  const float* coefficients;  // (2 + theta, curves): low, high, theta
  const bool* active;         // (2 + theta, curves)

  Solution rows(int first) const { return {curves, coefficients + first, active + first}; }
};

struct Measures {
  int curves;
  float *factor, *meat;  // (2 + theta, 2 + theta, curves)
  float *rss, *constant, *tss, *white_rss, *white_gain, *second_rss, *second_gain, *long_run, *correlation,
      *deviation;  // (curves)

  Measures rows(int first) const {
    return {curves,
            factor + first,
            meat + first,
            rss + first,
            constant + first,
            tss + first,
            white_rss + first,
            white_gain + first,
            second_rss + first,
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
  StepMethod step;
  float dependent, caution, second_caution;
};

}  // namespace tsl_jax
