// What JAX hands over (https://docs.jax.dev/en/latest/ffi.html): the same on every device.
#pragma once

#include <string_view>
#include <utility>

#include "families.h"
#include "measure.h"
#include "problem.h"
#include "xla/ffi/api/ffi.h"

namespace tsl_jax {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Flags = ffi::Buffer<ffi::PRED>;
using Counts = ffi::Buffer<ffi::S32>;

struct SolveCall {
  Block block;
  Problem problem;      // but for the groups of its templates
  const float* shapes;  // (templates, n)
  Result result;
  std::string_view family;
};

struct MeasureCall {
  Block block;
  Solution solution;
  Assumed assumed;
  MeasureMethod method;
  Measures measures;
  std::string_view family;
};

inline Block read_block(Floats x, Floats loss, Floats weight, const float* least, const float* most) {
  const int64_t rows = loss.dimensions()[0];
  const int curves = rows > INT32_MAX / 2 ? -1 : static_cast<int>(rows), n = static_cast<int>(loss.dimensions()[1]);
  return {curves, n, x.typed_data(), loss.typed_data(), weight.typed_data(), least, most};
}

// The constants of the method, by the names of tsl_jax.fitting.native.call.
inline Method read_method(const ffi::Dictionary& attributes) {
  const auto count = [&](std::string_view name) { return attributes.get<int32_t>(name).value(); };
  const auto number = [&](std::string_view name) { return attributes.get<float>(name).value(); };
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

inline std::string_view read_family(const ffi::Dictionary& attributes) {
  return attributes.get<std::string_view>("family").value();
}

// `before`, the contexts that a device wants, with what follows them in a call; and its reading.
template <class Before>
auto solve_binding(Before before) {
  return std::move(before)
      .template Arg<Floats>().template Arg<Floats>().template Arg<Floats>().template Arg<Floats>()
      .template Arg<Floats>().template Arg<Floats>().template Arg<Floats>().template Arg<Floats>()
      .template Arg<Floats>()
      .template Ret<Floats>().template Ret<Flags>().template Ret<Flags>().template Ret<Counts>()
      .Attrs();
}

inline SolveCall read_solve(Floats x, Floats loss, Floats weight, Floats least, Floats most, Floats lower, Floats upper,
                            Floats grid, Floats shapes, ffi::Result<Floats> coefficients, ffi::Result<Flags> held,
                            ffi::Result<Flags> converged, ffi::Result<Counts> passes, ffi::Dictionary attributes) {
  const Block block = read_block(x, loss, weight, least.typed_data(), most.typed_data());
  const Templates templates(static_cast<int>(shapes.dimensions()[0]), block.n);
  return {block,
          {lower.typed_data(), upper.typed_data(), grid.typed_data(), templates, read_method(attributes)},
          shapes.typed_data(),
          {block.curves, coefficients->typed_data(), held->typed_data(), converged->typed_data(), passes->typed_data()},
          read_family(attributes)};
}

inline MeasureMethod read_measure_method(const ffi::Dictionary& attributes) {
  const auto number = [&](std::string_view name) { return attributes.get<float>(name).value(); };
  return {{attributes.get<int32_t>("points_a_parameter").value(), number("most_correlation"), number("growth_variance")},
          {number("caution"), number("most_whitened"), number("trust_in_growth"), number("rounding")},
          number("dependent"),
          number("least_step")};
}

template <class Before>
auto measure_binding(Before before) {
  return std::move(before)
      .template Arg<Floats>().template Arg<Floats>().template Arg<Floats>().template Arg<Floats>()
      .template Arg<Flags>().template Arg<Floats>().template Arg<Floats>().template Arg<Floats>()
      .template Ret<Floats>().template Ret<Floats>().template Ret<Floats>().template Ret<Floats>()
      .template Ret<Floats>().template Ret<Floats>().template Ret<Floats>().template Ret<Floats>()
      .template Ret<Floats>().template Ret<Floats>().template Ret<Floats>()
      .Attrs();
}

using Numbers = ffi::Result<Floats>;

inline MeasureCall read_measure(Floats x, Floats loss, Floats weight, Floats coefficients, Flags held, Floats std,
                                Floats odds, Floats scalars, Numbers factor, Numbers meat, Numbers rss,
                                Numbers constant, Numbers tss, Numbers white_rss, Numbers white_gain,
                                Numbers second_gain, Numbers long_run, Numbers correlation, Numbers deviation,
                                ffi::Dictionary attributes) {
  const Block block = read_block(x, loss, weight, nullptr, nullptr);
  return {block,
          {block.curves, coefficients.typed_data(), held.typed_data()},
          {std.typed_data(), odds.typed_data(), scalars.typed_data()},
          read_measure_method(attributes),
          {block.curves, factor->typed_data(), meat->typed_data(), rss->typed_data(), constant->typed_data(),
           tss->typed_data(), white_rss->typed_data(), white_gain->typed_data(),
           second_gain->typed_data(), long_run->typed_data(), correlation->typed_data(),
           deviation->typed_data()},
          read_family(attributes)};
}

template <class Family_>
struct Chosen {
  using Family = Family_;
};

// body(Chosen<Family>()) for the family of that call; what it throws becomes an error.
template <class Call, class Body>
ffi::Error for_family(const Call& call, Body body) try {
  if (call.block.curves < 0) return ffi::Error::InvalidArgument("more than 2^30 curves in a block; give a block_size");
  if (call.family == "sigmoid") body(Chosen<Sigmoid>());
  else if (call.family == "hyperbola") body(Chosen<Hyperbola>());
  else if (call.family == "power_law") body(Chosen<PowerLaw>());
  else return ffi::Error::InvalidArgument("unknown family");
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the fits; give a smaller block_size");
} catch (const std::exception& error) {
  return ffi::Error::Internal(error.what());
}

}  // namespace tsl_jax
