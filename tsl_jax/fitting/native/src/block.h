// A block of curves as rows in memory, and strips of it with one curve a lane.
#pragma once

#include <cstddef>
#include <cstring>

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

// So many curves of a block from the `first` on; beyond the last one that is repeated.
template <int kNumber>
struct Curves {
  int at[kNumber];

  TSL_DEVICE Curves(const Block& block, int first) {
    for (int i = 0; i < kNumber; ++i) at[i] = min(first + i, block.curves - 1);
  }
};

// Numbers of a row that are worked on as they lie in memory, before they are spread over the lanes.
inline constexpr int kSome = 16;

template <int kNumber>
TSL_DEVICE void read(const float* from, float* out) {
#ifdef __CUDACC__
  if (kNumber % 4 == 0 && reinterpret_cast<uintptr_t>(from) % sizeof(float4) == 0) {
    for (int i = 0; i < kNumber; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      out[i] = four.x, out[i + 1] = four.y, out[i + 2] = four.z, out[i + 3] = four.w;
    }
    return;
  }
#endif
  for (int i = 0; i < kNumber; ++i) out[i] = from[i];
}

// The rows of some curves, one a lane, `stride` vectors from checkpoint to checkpoint.
#ifdef __CUDACC__
TSL_DEVICE inline void load_strip(const float* rows, int n, const int* curves, int stride, Columns columns) {
  const float* row = rows + static_cast<size_t>(curves[0]) * n;
  int i = 0;
  for (; i + kSome <= n; i += kSome) {
    float some[kSome];
    read<kSome>(row + i, some);
    for (int j = 0; j < kSome; ++j) columns[(i + j) * stride] = some[j];
  }
  for (; i < n; ++i) columns[i * stride] = row[i];
}
#else
inline void load_strip(const float* rows, int n, const int* curves, int stride, Columns columns) {
  const float* row[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) row[lane] = rows + static_cast<size_t>(curves[lane]) * n;
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vector square[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) square[lane] = load(row[lane] + i);
    transpose(square);
    for (int j = 0; j < kLanes; ++j) columns[(i + j) * stride] = square[j];
  }
  for (; i < n; ++i)
    for (int lane = 0; lane < kLanes; ++lane) columns[i * stride][lane] = row[lane][i];
}
#endif

// Asks for `part` of so many `parts` of the losses and weights of some curves from `first` on, which are to be loaded
// soon: rows are too short for a processor to foresee them.
TSL_DEVICE TSL_INLINE void fetch_rows(const Block& block, int first, int curves, int part, int parts) {
  const int last = min(first + curves, block.curves), numbers = last > first ? (last - first) * block.n : 0;
  const int64_t begin = int64_t{numbers} * part / parts, end = int64_t{numbers} * (part + 1) / parts;
  const size_t skipped = static_cast<size_t>(first) * block.n;
  for (int64_t i = begin; i < end; i += kSome) {
    fetch(block.loss + skipped + i);
    fetch(block.weight + skipped + i);
  }
}

template <int kNumber>
TSL_DEVICE void load_rooted(const float* losses, const float* weights, int lane, Columns rooted) {
  float loss[kNumber], root[kNumber];
  read<kNumber>(losses, loss);
  read<kNumber>(weights, root);
  for (int i = 0; i < kNumber; ++i) {
    root[i] = square_root(root[i]);
    loss[i] *= root[i];
  }
  for (int i = 0; i < kNumber; ++i) {
    at(rooted[2 * i], lane) = loss[i];
    at(rooted[2 * i + 1], lane) = root[i];
  }
}

// One row into one lane: its losses times the roots of their weights, each followed by that root.
TSL_DEVICE inline void load_lane(const Block& block, int curve, int lane, Columns rooted) {
  const float* loss = block.loss + static_cast<size_t>(curve) * block.n;
  const float* weight = block.weight + static_cast<size_t>(curve) * block.n;
  int i = 0;
  for (; i + kSome <= block.n; i += kSome) load_rooted<kSome>(loss + i, weight + i, lane, rooted.from(2 * i));
  for (; i < block.n; ++i) load_rooted<1>(loss + i, weight + i, lane, rooted.from(2 * i));
}

TSL_DEVICE inline Vector load_some(const float* values, const int* curves) {
  Vector out;
  for (int lane = 0; lane < kLanes; ++lane) at(out, lane) = values[curves[lane]];
  return out;
}

template <class Value, class Lanes>
TSL_DEVICE void store(Lanes lanes, const Block& block, int first, Value* values) {
  if (kLanes > 1 && sizeof(Value) * kLanes == sizeof lanes && first + kLanes <= block.curves) {
    std::memcpy(values + first, &lanes, sizeof lanes);
    return;
  }
  for (int lane = 0; lane < kLanes && first + lane < block.curves; ++lane) values[first + lane] = at(lanes, lane);
}

}  // namespace tsl_jax
