// A block of curves as rows in memory, and strips of it with one curve a lane.
#pragma once

#include <cstddef>

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

// Vectors in a memory that others have parts of too.
struct Columns {
  Vector* data;

  TSL_DEVICE Vector& operator[](int i) const { return data[static_cast<ptrdiff_t>(i) * kStride]; }
  TSL_DEVICE Columns from(int i) const { return {&(*this)[i]}; }
};

// What memory is left, in the order in which it is asked for.
class Memory {
 public:
  TSL_DEVICE explicit Memory(Vector* free) : free_(free) {}

  TSL_DEVICE Columns take(int vectors) {
    const Columns taken{free_};
    free_ += static_cast<size_t>(vectors) * kStride;
    return taken;
  }

 private:
  Vector* free_;
};

// The number of a block's curve, at most the last one, that `lane` has where a vector begins with the curve `first`.
TSL_DEVICE inline int row_of(const Block& block, int first, int lane) { return min(first + lane, block.curves - 1); }

// Numbers of a row that are worked on as they lie in memory, before they are spread over the lanes.
inline constexpr int kSome = kLanes > 1 ? 16 : 4;

TSL_DEVICE inline void read_some(const float* from, int some, float* out) {
#ifdef __CUDACC__
  if (some == 4 && reinterpret_cast<uintptr_t>(from) % sizeof(float4) == 0) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    out[0] = four.x, out[1] = four.y, out[2] = four.z, out[3] = four.w;
    return;
  }
#endif
  for (int i = 0; i < kSome; ++i) out[i] = i < some ? from[i] : 0;
}

// The rows from `first` on, one a lane, `stride` vectors from checkpoint to checkpoint; lanes beyond the last row
// repeat it.
TSL_DEVICE inline void load_strip(const float* rows, const Block& block, int first, int stride, Columns columns) {
  const float* row[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) row[lane] = rows + static_cast<size_t>(row_of(block, first, lane)) * block.n;
  int i = 0;
#ifndef __CUDACC__
  for (; i + kLanes <= block.n; i += kLanes) {
    Vector square[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) square[lane] = load(row[lane] + i);
    transpose(square);
    for (int j = 0; j < kLanes; ++j) columns[(i + j) * stride] = square[j];
  }
#endif
  for (; i < block.n; i += kSome)
    for (int lane = 0; lane < kLanes; ++lane) {
      float some[kSome];
      read_some(row[lane] + i, min(kSome, block.n - i), some);
      for (int j = 0; j < kSome && i + j < block.n; ++j) at(columns[(i + j) * stride], lane) = some[j];
    }
}

// One row into one lane: its losses times the roots of their weights, each followed by that root.
TSL_DEVICE inline void load_lane(const Block& block, int curve, int lane, Columns rooted) {
  const size_t row = static_cast<size_t>(curve) * block.n;
  for (int i = 0; i < block.n; i += kSome) {
    float losses[kSome], roots[kSome];
    const int some = min(kSome, block.n - i);
    read_some(block.loss + row + i, some, losses);
    read_some(block.weight + row + i, some, roots);
    for (int j = 0; j < kSome; ++j) {
      roots[j] = square_root(roots[j]);
      losses[j] *= roots[j];
    }
    for (int j = 0; j < kSome && j < some; ++j) {
      at(rooted[2 * (i + j)], lane) = losses[j];
      at(rooted[2 * (i + j) + 1], lane) = roots[j];
    }
  }
}

TSL_DEVICE inline Vector load(const float* values, const Block& block, int first) {
  Vector out;
  for (int lane = 0; lane < kLanes; ++lane) at(out, lane) = values[row_of(block, first, lane)];
  return out;
}

template <class Value, class Lanes>
TSL_DEVICE void store(Lanes lanes, const Block& block, int first, Value* values) {
  for (int lane = 0; lane < kLanes && first + lane < block.curves; ++lane) values[first + lane] = at(lanes, lane);
}

}  // namespace tsl_jax
