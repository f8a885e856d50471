// A block of curves as rows in memory, and strips of it with one curve a lane.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "vector.h"

namespace tsl_jax {

struct Block {
  int curves, n;  // n checkpoints
  const float* x;
  const float *loss, *weight;  // (curves, n); 0 where nothing was measured
  const float *least, *most;   // bounds of the plateaus

  Block rows(int first, int last) const {
    const size_t skipped = static_cast<size_t>(first) * n;
    return {last - first, n, x, loss + skipped, weight + skipped, least + first, most + first};
  }
};

using Columns = std::vector<Vector>;

// The rows from `first` on, one a lane, `stride` vectors from checkpoint to checkpoint; lanes beyond the last row
// repeat it.
inline void load_strip(const float* rows, const Block& block, int first, int stride, Vector* columns) {
  const float* row[kLanes];
  for (int lane = 0; lane < kLanes; ++lane)
    row[lane] = rows + static_cast<size_t>(std::min(first + lane, block.curves - 1)) * block.n;
  int i = 0;
  for (; i + kLanes <= block.n; i += kLanes) {
    Vector square[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) square[lane] = load(row[lane] + i);
    transpose(square);
    for (int j = 0; j < kLanes; ++j) columns[static_cast<size_t>(i + j) * stride] = square[j];
  }
  for (; i < block.n; ++i)
    for (int lane = 0; lane < kLanes; ++lane) columns[static_cast<size_t>(i) * stride][lane] = row[lane][i];
}

inline Vector load(const float* values, const Block& block, int first) {
  Vector out;
  for (int lane = 0; lane < kLanes; ++lane) out[lane] = values[std::min(first + lane, block.curves - 1)];
  return out;
}

template <class Value, class Lanes>
void store(Lanes lanes, const Block& block, int first, Value* values) {
  for (int lane = 0; lane < kLanes && first + lane < block.curves; ++lane) values[first + lane] = lanes[lane];
}

}  // namespace tsl_jax
