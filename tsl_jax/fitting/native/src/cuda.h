// The kernel on NVIDIA's GPUs: the same, with a curve in each thread.
//
// Nothing is exchanged between threads but numbers of curves. What a thread works on lies in global memory, side by
// side for the threads of a warp: with few checkpoints most of it stays in the cache of their multiprocessor.
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

// Threads in a block of them, and how many blocks a multiprocessor has at a time: see tsl_jax/fitting/native/tuning.py.
constexpr int kThreads = TSL_THREADS, kSearches = TSL_SEARCHES, kFits = TSL_FITS, kMeasures = TSL_MEASURES;
static_assert(kThreads % kStride == 0);

// What searches have found.
struct Findings {
  int curves;
  float *mean, *tss, *floor;  // (curves)
  float* reduction;           // (kMostRuns, curves), best first
  int* template_;             // (kMostRuns, curves)
};

// Curves in their order: each thread takes the next one that none has taken.
class Queue {
 public:
  struct Candidate {
    int curve;
    float mean, tss, floor;
    Findings found;

    TSL_DEVICE float reduction(int rank) const { return found.reduction[place(rank)]; }
    TSL_DEVICE int template_(int rank) const { return found.template_[place(rank)]; }

   private:
    TSL_DEVICE size_t place(int rank) const { return static_cast<size_t>(rank) * found.curves + curve; }
  };

  TSL_DEVICE Queue(const Findings& found, int* taken) : found_(found), taken_(taken) {}

  TSL_DEVICE bool next(Candidate* candidate) const {
    const int curve = atomicAdd(taken_, 1);
    if (curve >= found_.curves) return false;
    *candidate = {curve, found_.mean[curve], found_.tss[curve], found_.floor[curve], found_};
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

// Curves with gaps or weights, which take longer: they are searched together.
struct Uneven {
  int* curves;  // (curves)
  int* number;
};

TSL_DEVICE inline void keep(const Found& of, int curve, int runs, const Findings& found) {
  found.mean[curve] = of.summary.mean;
  found.tss[curve] = of.summary.tss;
  found.floor[curve] = of.summary.floor;
  for (int rank = 0; rank < runs; ++rank) {
    const size_t place = static_cast<size_t>(rank) * found.curves + curve;
    found.reduction[place] = of.starts[rank].reduction;
    found.template_[place] = of.starts[rank].template_;
  }
}

__global__ void __launch_bounds__(kThreads, kSearches)
search_even(Templates templates, Block block, Findings found, Uneven uneven, Parts parts) {
  Memory own = parts.own();
  Search search(templates, block, own);
  for (int first = this_thread() * kWide; first < block.curves; first += num_threads() * kWide) {
    int at[kWide];
    for (int w = 0; w < kWide; ++w) at[w] = min(first + w, block.curves - 1);
    Mask is_uneven[kWide]{};
    Found of[kWide];
    search.load(at, is_uneven);
    bool some_even = false;
    for (int w = 0; w < kWide; ++w) some_even |= !is_uneven[w];
    if (some_even) search.search<false>(at, of);
    for (int w = 0; w < kWide && first + w < block.curves; ++w) {
      if (is_uneven[w]) uneven.curves[atomicAdd(uneven.number, 1)] = at[w];
      else keep(of[w], at[w], templates.runs, found);
    }
  }
}

__global__ void __launch_bounds__(kThreads, kSearches)
search_uneven(Templates templates, Block block, Findings found, Uneven uneven, Parts parts) {
  Memory own = parts.own();
  Search search(templates, block, own);
  const int number = *uneven.number;
  for (int first = this_thread() * kWide; first < number; first += num_threads() * kWide) {
    int at[kWide];
    for (int w = 0; w < kWide; ++w) at[w] = uneven.curves[min(first + w, number - 1)];
    Mask is_uneven[kWide]{};
    Found of[kWide];
    search.load(at, is_uneven);
    search.search<true>(at, of);
    for (int w = 0; w < kWide; ++w) keep(of[w], at[w], templates.runs, found);
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
measure_curves(Block block, Solution solution, Assumed assumed, MeasureMethod method, Measures measures, Parts parts) {
  Memory own = parts.own();
  const Measurer<Family> measurer(block, assumed, method, own);
  for (int curve = this_thread(); curve < block.curves; curve += num_threads()) measurer.run(curve, solution, measures);
}

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // forgets it: the next call may succeed
  throw std::runtime_error(cudaGetErrorString(error));
}

// Memory of the device for the time of a call.
class Scratch {
 public:
  // allocate(bytes, alignment): a place, or none where there is no more; XLA knows no alignment above 16.
  using Allocate = std::function<std::optional<void*>(size_t, size_t)>;

  explicit Scratch(Allocate allocate) : allocate_(std::move(allocate)) {}

  template <class Value>
  Value* take(size_t number) {
    static_assert(alignof(Value) <= 16);
    const std::optional<void*> taken = allocate_(number * sizeof(Value), alignof(Value));
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
    blocks = std::min((items + kThreads - 1) / kThreads, at_a_time * multiprocessors);
    parts = {scratch.take<float>(static_cast<size_t>(blocks) * kThreads * numbers), numbers};
  }
};

template <class Family>
void solve(SolveCall call, cudaStream_t stream, Scratch scratch) {
  const int curves = call.block.curves, n = call.block.n;
  if (curves == 0) return;
  Templates& templates = call.problem.templates;
  Group* groups = scratch.take<Group>(templates.size);
  float* bands = scratch.take<float>(templates.band_size());
  const auto each = [&] { return scratch.take<float>(curves); };
  const size_t starts = static_cast<size_t>(kMostRuns) * curves;
  const Findings found{curves, each(), each(), each(), scratch.take<float>(starts), scratch.take<int>(starts)};
  int* counters = scratch.take<int>(2);
  const Uneven uneven{scratch.take<int>(curves), counters};
  int* taken = counters + 1;
  const Threads searching((curves + kWide - 1) / kWide, kSearches, Search::memory(n), scratch);
  const Threads fitting(curves, kFits, Fits<Family, Queue>::memory(n), scratch);

  check(cudaMemsetAsync(counters, 0, 2 * sizeof(int), stream));
  const int few = 32;  // so that more multiprocessors have some
  make_templates<<<(templates.size + few - 1) / few, few, 0, stream>>>(templates, call.shapes, groups, bands);
  templates.groups = groups, templates.bands = bands;
  search_even<<<searching.blocks, kThreads, 0, stream>>>(templates, call.block, found, uneven, searching.parts);
  search_uneven<<<searching.blocks, kThreads, 0, stream>>>(templates, call.block, found, uneven, searching.parts);
  fit_curves<Family><<<fitting.blocks, kThreads, 0, stream>>>(call.problem, call.block, found, taken, call.result,
                                                              fitting.parts);
  check(cudaGetLastError());
}

template <class Family>
void measure(const MeasureCall& call, cudaStream_t stream, Scratch scratch) {
  if (call.block.curves == 0) return;
  const Threads threads(call.block.curves, kMeasures, Measurer<Family>::memory(call.block.n), scratch);
  measure_curves<Family><<<threads.blocks, kThreads, 0, stream>>>(call.block, call.solution, call.assumed, call.method,
                                                                  call.measures, threads.parts);
  check(cudaGetLastError());
}

inline void run(const SolveCall& call, cudaStream_t stream, Scratch scratch) {
  with_family(call.family, [&](auto chosen) { solve<typename decltype(chosen)::Family>(call, stream, scratch); });
}

inline void run(const MeasureCall& call, cudaStream_t stream, Scratch scratch) {
  with_family(call.family, [&](auto chosen) { measure<typename decltype(chosen)::Family>(call, stream, scratch); });
}

}  // namespace tsl_jax
