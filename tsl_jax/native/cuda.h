// The kernel on NVIDIA's GPUs: the same, with a curve in each thread.
//
// Nothing is exchanged between threads but the number of the next curve. What a thread works on lies in global memory,
// side by side for the threads of a warp, and stays in the cache of its multiprocessor where there are few checkpoints.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <new>
#include <optional>
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

// Memory for all threads, each of whom gets so many numbers.
struct Parts {
  float* memory;
  int numbers;

  TSL_DEVICE Memory own() const {
    const int warp = this_thread() / kStride, lane = this_thread() % kStride;
    return Memory(memory + static_cast<size_t>(warp) * kStride * numbers + lane);
  }
};

__global__ void make_templates(Templates templates, const float* shapes, Group* groups, float* bands) {
  if (this_thread() < templates.size) templates.make(this_thread(), shapes, groups, bands);
}

__global__ void __launch_bounds__(kThreads, kSearches)
search_starts(Templates templates, Block block, Findings found, Parts parts) {
  Memory own = parts.own();
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
fit_curves(Problem problem, Block block, Findings found, int* taken, Result result, Parts parts) {
  Memory own = parts.own();
  Queue queue(found, taken);
  Fits<Family, Queue>(problem, block, result, queue, own).solve();
}

template <class Family>
__global__ void __launch_bounds__(kThreads, kMeasures)
measure_curves(Block block, Solution solution, Measures measures, Parts parts) {
  Memory own = parts.own();
  const Measurer<Family> measurer(block, own);
  for (int curve = this_thread(); curve < block.curves; curve += num_threads()) measurer.run(curve, solution, measures);
}

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// Memory of the device for the time of a call.
class Scratch {
 public:
  // allocate(bytes, alignment): a place, or none where there is no more.
  using Allocate = std::function<std::optional<void*>(size_t, size_t)>;

  explicit Scratch(Allocate allocate) : allocate_(std::move(allocate)) {}

  template <class Value>
  Value* take(size_t number) {
    const std::optional<void*> taken = allocate_(number * sizeof(Value), 256);
    if (!taken) throw std::bad_alloc();
    return static_cast<Value*>(*taken);
  }

 private:
  Allocate allocate_;
};

// Threads that work through items: no more than all multiprocessors have at a time.
struct Threads {
  int blocks;
  Parts parts;

  Threads(int items, int at_a_time, int numbers, Scratch& scratch) {
    int device, multiprocessors;
    check(cudaGetDevice(&device));
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    blocks = std::min(blocks_for(items), at_a_time * multiprocessors);
    parts = {scratch.take<float>(static_cast<size_t>(blocks) * kThreads * numbers), numbers};
  }

  static int blocks_for(int items) { return (items + kThreads - 1) / kThreads; }
};

template <class Family>
void solve(SolveCall call, cudaStream_t stream, Scratch scratch) {
  const int curves = call.block.curves, n = call.block.n;
  if (curves == 0) return;
  Templates& templates = call.problem.templates;
  Group* groups = scratch.take<Group>(templates.size);
  float* bands = scratch.take<float>(templates.band_size());
  const int few = Threads::blocks_for(templates.size);
  make_templates<<<few, kThreads, 0, stream>>>(templates, call.shapes, groups, bands);
  templates.groups = groups, templates.bands = bands;

  const auto each = [&] { return scratch.take<float>(curves); };
  const size_t starts = static_cast<size_t>(kRuns) * curves;
  const Findings found{curves, each(), each(), each(), scratch.take<float>(starts), scratch.take<int>(starts)};
  const int searches = (curves + Search::kCurves - 1) / Search::kCurves;
  const Threads searching(searches, kSearches, Search::memory(n), scratch);
  search_starts<<<searching.blocks, kThreads, 0, stream>>>(templates, call.block, found, searching.parts);

  int* taken = scratch.take<int>(1);
  check(cudaMemsetAsync(taken, 0, sizeof(int), stream));
  const Threads fitting(curves, kFits, Fits<Family, Queue>::memory(n), scratch);
  fit_curves<Family><<<fitting.blocks, kThreads, 0, stream>>>(call.problem, call.block, found, taken, call.result,
                                                              fitting.parts);
  check(cudaGetLastError());
}

template <class Family>
void measure(const MeasureCall& call, cudaStream_t stream, Scratch scratch) {
  if (call.block.curves == 0) return;
  const Threads threads(call.block.curves, kMeasures, Measurer<Family>::memory(call.block.n), scratch);
  measure_curves<Family><<<threads.blocks, kThreads, 0, stream>>>(call.block, call.solution, call.measures,
                                                                  threads.parts);
  check(cudaGetLastError());
}

inline ffi::Error run(const SolveCall& call, cudaStream_t stream, Scratch scratch) {
  return for_family(call, [&](auto chosen) { solve<typename decltype(chosen)::Family>(call, stream, scratch); });
}

inline ffi::Error run(const MeasureCall& call, cudaStream_t stream, Scratch scratch) {
  return for_family(call, [&](auto chosen) { measure<typename decltype(chosen)::Family>(call, stream, scratch); });
}

}  // namespace tsl_jax
