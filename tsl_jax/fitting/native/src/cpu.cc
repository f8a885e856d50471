// What JAX calls on CPUs.
#include <memory>
#include <vector>

#include "call.h"
#include "fits.h"
#include "parallel.h"
#include "starts.h"

namespace tsl_jax {

// Parts of a block: enough for threads to end together, none so small that its last fits leave lanes empty for long.
constexpr int kPartsAThread = 4, kLeastPart = 1024;

// Calls body(first, last) for the rows of each part.
template <class Body>
void over_rows(ffi::ThreadPool& pool, int curves, Body body) {
  const int threads = static_cast<int>(pool.num_threads());
  const int parts = threads < 2 ? 1 : std::min(kPartsAThread * threads, (curves + kLeastPart - 1) / kLeastPart);
  parallel_for(pool, parts, [&](int part) {
    const auto begin = [&](int64_t k) { return static_cast<int>(k * curves / parts); };
    body(begin(part), begin(part + 1));
  });
}

template <class Family>
void solve(SolveCall call, ffi::ThreadPool& pool) {
  Templates& templates = call.problem.templates;
  std::vector<Group> groups(templates.size);
  const std::unique_ptr<float[]> bands(new float[templates.band_size()]);  // of which only what is used is touched
  for (int place = 0; place < templates.size; ++place) templates.make(place, call.shapes, groups.data(), bands.get());
  templates.groups = groups.data(), templates.bands = bands.get();
  over_rows(pool, call.block.curves, [&](int first, int last) {
    const Block rows = call.block.rows(first, last);
    const Result result = call.result.rows(first);
    std::vector<Vector> vectors(Search::memory(rows.n) + Fits<Family, Starts>::memory(rows.n));
    Memory memory(vectors.data());
    Starts starts(templates, rows, memory);
    Fits<Family, Starts>(call.problem, rows, result, starts, memory).solve();
  });
}

template <class Family>
void measure(const MeasureCall& call, ffi::ThreadPool& pool) {
  over_rows(pool, call.block.curves, [&](int first, int last) {
    const Block rows = call.block.rows(first, last);
    std::vector<Vector> vectors(Measurer<Family>::memory(rows.n));
    Memory memory(vectors.data());
    const Measurer<Family> measurer(rows, call.assumed, call.method, memory);
    for (int k = 0; k < rows.curves; k += kLanes) measurer.run(k, call.solution.rows(first), call.measures.rows(first));
  });
}

constexpr auto call_solve = [](ffi::ThreadPool pool, auto... given) {
  return answer([&] {
    const SolveCall call = read_solve(given...);
    with_family(call.family, [&](auto chosen) { solve<typename decltype(chosen)::Family>(call, pool); });
  });
};

constexpr auto call_measure = [](ffi::ThreadPool pool, auto... given) {
  return answer([&] {
    const MeasureCall call = read_measure(given...);
    with_family(call.family, [&](auto chosen) { measure<typename decltype(chosen)::Family>(call, pool); });
  });
};

}  // namespace tsl_jax

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_solve, tsl_jax::call_solve,
                              tsl_jax::solve_binding(tsl_jax::ffi::Ffi::Bind().Ctx<tsl_jax::ffi::ThreadPool>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_measure, tsl_jax::call_measure,
                              tsl_jax::measure_binding(tsl_jax::ffi::Ffi::Bind().Ctx<tsl_jax::ffi::ThreadPool>()));
