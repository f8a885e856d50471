// The kernel on NVIDIA's GPUs: the same, with a curve in each thread.
//
// Nothing is exchanged between threads but the number of the next curve. What a thread works on lies in global memory,
// side by side for the threads of a warp, and stays in the cache of its multiprocessor where there are few checkpoints.
#pragma once

#include <cuda_runtime.h>

#include <new>
#include <stdexcept>

#include "call.h"
#include "fits.h"
#include "search.h"

namespace tsl_jax {

// Threads in a block of them, and how many blocks a multiprocessor has at a time: as many as its cache feeds.
constexpr int kThreads = 128, kSearches = 2, kFits = 4, kMeasures = 4;

// What searches have found.
struct Findings {
  int curves;
  float *mean, *spread, *floor;  // (curves)
  float* gain;                   // (kRuns, curves), best first
  int* template_;                // (kRuns, curves)
};

// Curves in their order: each thread takes the next one that none has taken.
class Queue {
 public:
  struct Candidate {
    int curve;
    float mean, spread, floor;
    Findings found;

    TSL_DEVICE float gain(int rank) const { return found.gain[place(rank)]; }
    TSL_DEVICE int template_(int rank) const { return found.template_[place(rank)]; }

   private:
    TSL_DEVICE size_t place(int rank) const { return static_cast<size_t>(rank) * found.curves + curve; }
  };

  TSL_DEVICE Queue(const Findings& found, int* taken) : found_(found), taken_(taken) {}

  TSL_DEVICE bool next(Candidate* candidate) const {
    const int curve = atomicAdd(taken_, 1);
    if (curve >= found_.curves) return false;
    *candidate = {curve, found_.mean[curve], found_.spread[curve], found_.floor[curve], found_};
    return true;
  }

 private:
  const Findings& found_;
  int* const taken_;
};

TSL_DEVICE inline int this_thread() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }
TSL_DEVICE inline int num_threads() { return static_cast<int>(gridDim.x * blockDim.x); }

// This thread's part of memory for all, each of whom gets so many numbers.
TSL_DEVICE inline Memory own_part(float* memory, int numbers) {
  const int warp = this_thread() / kStride;
  return Memory(memory + static_cast<size_t>(warp) * kStride * numbers + this_thread() % kStride);
}

__global__ void make_templates(Templates templates, const float* shapes, Group* groups, float* bands) {
  if (this_thread() < templates.size) templates.make(this_thread(), shapes, groups, bands);
}

__global__ void __launch_bounds__(kThreads, kSearches)
search_starts(Templates templates, Block block, Findings found, float* memory, int numbers) {
  Memory own = own_part(memory, numbers);
  Search search(templates, block, own);
  for (int first = this_thread() * Search::kCurves; first < block.curves; first += num_threads() * Search::kCurves) {
    Found of[kWide];
    search.run(first, of);
    for (int w = 0; w < kWide && first + w < block.curves; ++w) {
      const int curve = first + w;
      found.mean[curve] = of[w].summary.mean;
      found.spread[curve] = of[w].summary.spread;
      found.floor[curve] = of[w].summary.floor;
      for (int rank = 0; rank < templates.runs; ++rank) {
        const size_t place = static_cast<size_t>(rank) * block.curves + curve;
        found.gain[place] = of[w].starts[rank].gain;
        found.template_[place] = of[w].starts[rank].template_;
      }
    }
  }
}

template <class Family>
__global__ void __launch_bounds__(kThreads, kFits)
fit_curves(Problem problem, Block block, Findings found, int* taken, float* memory, int numbers, Result result) {
  Memory own = own_part(memory, numbers);
  Queue queue(found, taken);
  Fits<Family, Queue>(problem, block, result, queue, own).solve();
}

template <class Family>
__global__ void __launch_bounds__(kThreads, kMeasures)
measure_curves(Block block, Solution solution, Measures measures, float* memory, int numbers) {
  Memory own = own_part(memory, numbers);
  const Measurer<Family> measurer(block, own);
  for (int curve = this_thread(); curve < block.curves; curve += num_threads()) measurer.run(curve, solution, measures);
}

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// Memory on the device for the time of a call, from an allocator of JAX's interface.
template <class Allocator>
class Scratch {
 public:
  explicit Scratch(Allocator& allocator) : allocator_(allocator) {}

  template <class Value>
  Value* take(size_t number) {
    const auto taken = allocator_.Allocate(number * sizeof(Value), 256);
    if (!taken) throw std::bad_alloc();
    return static_cast<Value*>(*taken);
  }

 private:
  Allocator& allocator_;
};

// Blocks of threads that work through `items`: no more than all multiprocessors have at a time.
inline int num_blocks(int items, int at_a_time) {
  int device, multiprocessors;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  return std::min((items + kThreads - 1) / kThreads, at_a_time * multiprocessors);
}

template <class Family, class Allocator>
void solve(SolveCall call, cudaStream_t stream, Scratch<Allocator> scratch) {
  const int curves = call.block.curves, n = call.block.n;
  if (curves == 0) return;
  Templates& templates = call.problem.templates;
  Group* groups = scratch.template take<Group>(templates.size);
  float* bands = scratch.template take<float>(templates.band_size());
  make_templates<<<(templates.size + kThreads - 1) / kThreads, kThreads, 0, stream>>>(templates, call.shapes, groups,
                                                                                      bands);
  templates.groups = groups, templates.bands = bands;

  const size_t starts = static_cast<size_t>(kRuns) * curves;
  const Findings found{curves, scratch.template take<float>(curves), scratch.template take<float>(curves), scratch.template take<float>(curves),
                       scratch.template take<float>(starts), scratch.template take<int>(starts)};
  int blocks = num_blocks((curves + Search::kCurves - 1) / Search::kCurves, kSearches), numbers = Search::memory(n);
  search_starts<<<blocks, kThreads, 0, stream>>>(
      templates, call.block, found, scratch.template take<float>(static_cast<size_t>(blocks) * kThreads * numbers), numbers);

  int* taken = scratch.template take<int>(1);
  check(cudaMemsetAsync(taken, 0, sizeof(int), stream));
  blocks = num_blocks(curves, kFits), numbers = Fits<Family, Queue>::memory(n);
  fit_curves<Family><<<blocks, kThreads, 0, stream>>>(
      call.problem, call.block, found, taken, scratch.template take<float>(static_cast<size_t>(blocks) * kThreads * numbers),
      numbers, call.result);
  check(cudaGetLastError());
}

template <class Family, class Allocator>
void measure(const MeasureCall& call, cudaStream_t stream, Scratch<Allocator> scratch) {
  if (call.block.curves == 0) return;
  const int blocks = num_blocks(call.block.curves, kMeasures), numbers = Measurer<Family>::memory(call.block.n);
  measure_curves<Family><<<blocks, kThreads, 0, stream>>>(
      call.block, call.solution, call.measures, scratch.template take<float>(static_cast<size_t>(blocks) * kThreads * numbers),
      numbers);
  check(cudaGetLastError());
}

template <class Allocator>
ffi::Error run(const SolveCall& call, cudaStream_t stream, Allocator& scratch) {
  return for_family(call, [&](auto chosen) {
    solve<typename decltype(chosen)::Family>(call, stream, Scratch<Allocator>(scratch));
  });
}

template <class Allocator>
ffi::Error run(const MeasureCall& call, cudaStream_t stream, Allocator& scratch) {
  return for_family(call, [&](auto chosen) {
    measure<typename decltype(chosen)::Family>(call, stream, Scratch<Allocator>(scratch));
  });
}

}  // namespace tsl_jax
