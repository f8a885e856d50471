// What JAX calls: https://docs.jax.dev/en/latest/ffi.html
#include "xla/ffi/api/ffi.h"

#include "fits.h"
#include "measure.h"
#include "parallel.h"

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Flags = ffi::Buffer<ffi::PRED>;
using Counts = ffi::Buffer<ffi::S32>;

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

struct SolveArguments {
  Block block;
  const float *lower, *upper, *grid, *shapes;
  int templates;
  Method method;
  Result result;
};

struct MeasureArguments {
  Block block;
  Solution solution;
  Measures measures;
};

template <class Family>
struct Kernel {
  static void run(const SolveArguments& a, ffi::ThreadPool& pool) {
    const Problem<Family> problem(a.lower, a.upper, a.grid, a.shapes, a.templates, a.block.n, a.method);
    over_rows(pool, a.block.curves, [&](int first, int last) {
      const Block rows = a.block.rows(first, last);
      Fits<Family>(problem, rows, a.result.rows(first)).solve();
    });
  }

  static void run(const MeasureArguments& a, ffi::ThreadPool& pool) {
    over_rows(pool, a.block.curves, [&](int first, int last) {
      const Block rows = a.block.rows(first, last);
      Measurer<Family>(rows).run(a.solution.rows(first), a.measures.rows(first));
    });
  }
};

template <class Arguments>
ffi::Error run(const Arguments& arguments, const ffi::Dictionary& attributes, ffi::ThreadPool& pool) try {
  if (arguments.block.curves < 0) return ffi::Error::InvalidArgument("more than 2^30 curves in a block; give a block_size");
  const std::string_view family = attributes.get<std::string_view>("family").value();
  if (family == "sigmoid") Kernel<Sigmoid>::run(arguments, pool);
  else if (family == "hyperbola") Kernel<Hyperbola>::run(arguments, pool);
  else if (family == "power_law") Kernel<PowerLaw>::run(arguments, pool);
  else return ffi::Error::InvalidArgument("unknown family");
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the fits");
} catch (const std::exception& error) {
  return ffi::Error::Internal(error.what());
}

// The constants of the method, by the names of tsl_jax.lm.native_kernel.
Method read_method(const ffi::Dictionary& attributes) {
  auto count = [&](std::string_view name) { return attributes.get<int32_t>(name).value(); };
  auto number = [&](std::string_view name) { return attributes.get<float>(name).value(); };
  Method m;
  m.steps_a_round = count("steps_a_round");
  m.max_steps = count("max_steps");
  m.starts = count("starts");
  m.most_starts = count("most_starts");
  m.first_damping = number("first_damping");
  m.ease = number("ease");
  m.tighten = number("tighten");
  m.last_damping = number("last_damping");
  m.barely_seen = number("barely_seen");
  m.clear = number("clear");
  m.promising = number("promising");
  m.same_rise = number("same_rise");
  m.same_rss = number("same_rss");
  m.perfect = number("perfect");
  m.longest_step = number("longest_step");
  m.tolerance = number("tolerance");
  return m;
}

Block make_block(Floats x, Floats loss, Floats weight, const float* least, const float* most) {
  const int64_t rows = loss.dimensions()[0];
  const int curves = rows > INT32_MAX / 2 ? -1 : static_cast<int>(rows), n = static_cast<int>(loss.dimensions()[1]);
  return {curves, n, x.typed_data(), loss.typed_data(), weight.typed_data(), least, most};
}

ffi::Error solve(ffi::ThreadPool pool, Floats x, Floats loss, Floats weight, Floats least, Floats most, Floats lower,
                 Floats upper, Floats grid, Floats shapes, ffi::Result<Floats> coefficients, ffi::Result<Flags> held,
                 ffi::Result<Flags> converged, ffi::Result<Counts> passes, ffi::Dictionary attributes) {
  const Block block = make_block(x, loss, weight, least.typed_data(), most.typed_data());
  const int templates = static_cast<int>(shapes.dimensions()[0]);
  const Result result{block.curves, coefficients->typed_data(), held->typed_data(), converged->typed_data(),
                      passes->typed_data()};
  const SolveArguments arguments{block, lower.typed_data(), upper.typed_data(), grid.typed_data(), shapes.typed_data(),
                                 templates, read_method(attributes), result};
  return run(arguments, attributes, pool);
}

ffi::Error measure(ffi::ThreadPool pool, Floats x, Floats loss, Floats weight, Floats coefficients, Flags held,
                   ffi::Result<Floats> factor, ffi::Result<Floats> rss, ffi::Result<Floats> constant,
                   ffi::Result<Floats> spread, ffi::Dictionary attributes) {
  const Block block = make_block(x, loss, weight, nullptr, nullptr);
  const Solution solution{block.curves, coefficients.typed_data(), held.typed_data()};
  const Measures measures{block.curves, factor->typed_data(), rss->typed_data(), constant->typed_data(),
                          spread->typed_data()};
  return run(MeasureArguments{block, solution, measures}, attributes, pool);
}

}  // namespace tsl_jax

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_solve, tsl_jax::solve,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()
                                  .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()
                                  .Ret<Floats>().Ret<Flags>().Ret<Flags>().Ret<Counts>()
                                  .Attrs());

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_measure, tsl_jax::measure,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Flags>()
                                  .Ret<Floats>().Ret<Floats>().Ret<Floats>().Ret<Floats>()
                                  .Attrs());
