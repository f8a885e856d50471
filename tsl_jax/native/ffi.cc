// What JAX calls: https://docs.jax.dev/en/latest/ffi.html
#include "xla/ffi/api/ffi.h"

#include "parallel.h"
#include "solve.h"

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Flags = ffi::Buffer<ffi::PRED>;

namespace tsl_jax {

// Curves a thread takes at a time: few enough to stay in its cache, many enough that lanes are seldom empty.
constexpr int kPart = 1024;

struct Arguments {
  Block block;
  const float *lower, *upper, *grid, *shapes;
  int templates;
  Method method;
  Result result;
};

template <class Family>
void run(const Arguments& a, ffi::ThreadPool& pool) {
  const Problem<Family> problem(a.lower, a.upper, a.grid, a.shapes, a.templates, a.block.n, a.method);
  parallel_for(pool, (a.block.curves + kPart - 1) / kPart, [&](int part) {
    const int first = part * kPart, last = std::min(first + kPart, a.block.curves);
    const Block rows = a.block.rows(first, last);
    Fits<Family>(problem, rows).solve(a.result.rows(first));
  });
}

constexpr struct {
  std::string_view name;
  void (*run)(const Arguments&, ffi::ThreadPool&);
} kFamilies[] = {{"sigmoid", run<Sigmoid>}, {"hyperbola", run<Hyperbola>}, {"power_law", run<PowerLaw>}};

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

ffi::Error Solve(ffi::ThreadPool pool, Floats x, Floats loss, Floats weight, Floats least, Floats most, Floats lower,
                 Floats upper, Floats grid, Floats shapes, ffi::ResultBuffer<ffi::F32> coefficients,
                 ffi::ResultBuffer<ffi::PRED> held, ffi::ResultBuffer<ffi::PRED> converged,
                 ffi::Dictionary attributes) try {
  const int curves = static_cast<int>(loss.dimensions()[0]), n = static_cast<int>(loss.dimensions()[1]);
  const Arguments arguments{
      {curves, n, x.typed_data(), loss.typed_data(), weight.typed_data(), least.typed_data(), most.typed_data()},
      lower.typed_data(),
      upper.typed_data(),
      grid.typed_data(),
      shapes.typed_data(),
      static_cast<int>(shapes.dimensions()[0]),
      read_method(attributes),
      {curves, coefficients->typed_data(), held->typed_data(), converged->typed_data()}};
  const std::string_view family = attributes.get<std::string_view>("family").value();
  for (const auto& known : kFamilies) {
    if (known.name != family) continue;
    known.run(arguments, pool);
    return ffi::Error::Success();
  }
  return ffi::Error::InvalidArgument("unknown family");
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the fits");
} catch (const std::exception& error) {
  return ffi::Error::Internal(error.what());
}

}  // namespace tsl_jax

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_solve, tsl_jax::Solve,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()
                                  .Arg<Floats>().Arg<Floats>().Arg<Floats>().Arg<Floats>()
                                  .Ret<Floats>().Ret<Flags>().Ret<Flags>()
                                  .Attrs());
