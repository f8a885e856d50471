// What JAX hands over (https://docs.jax.dev/en/latest/ffi.html): the same on every device.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <string>
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

// More than these would overflow numbers of them or of memory.
inline constexpr int64_t kMostCurves = 1 << 30, kMostCheckpoints = 1 << 24, kMostTemplates = 1 << 24;

// Throws where an array has not the shape in which it is read.
template <class Array>
void expect(const char* name, const Array& array, std::initializer_list<int64_t> shape) {
  const auto found = array.dimensions();
  if (std::equal(found.begin(), found.end(), shape.begin(), shape.end())) return;
  const auto text = [](const auto& sizes) {
    std::string out;
    for (const int64_t size : sizes) out += (out.empty() ? "" : ", ") + std::to_string(size);
    return "(" + out + ")";
  };
  throw std::invalid_argument(std::string(name) + ": got shape " + text(found) + ", expected " + text(shape));
}

inline void expect(const char* what, bool holds) {
  if (!holds) throw std::invalid_argument(what);
}

template <class Value>
Value read_attribute(const ffi::Dictionary& attributes, std::string_view name) {
  const auto found = attributes.get<Value>(name);
  if (!found.has_value()) throw std::invalid_argument(found.error().message());
  return *found;
}

inline Block read_block(Floats x, Floats loss, Floats weight, const float* least, const float* most) {
  expect("losses: expected (curves, checkpoints)", loss.dimensions().size() == 2);
  const int64_t curves = loss.dimensions()[0], n = loss.dimensions()[1];
  expect("more than 2^30 curves in a block; give a block_size", curves <= kMostCurves);
  expect("losses: expected 1 to 2^24 checkpoints", 0 < n && n <= kMostCheckpoints);
  expect("x", x, {n});
  expect("weights", weight, {curves, n});
  return {static_cast<int>(curves), static_cast<int>(n), x.typed_data(), loss.typed_data(), weight.typed_data(), least,
          most};
}

// The constants of the method, by the names of tsl_jax.fitting.native.call.
inline Method read_method(const ffi::Dictionary& attributes) {
  const auto count = [&](std::string_view name) { return read_attribute<int32_t>(attributes, name); };
  const auto number = [&](std::string_view name) { return read_attribute<float>(attributes, name); };
  Method m;
  m.steps_a_round = count("steps_a_round");
  m.max_steps = count("max_steps");
  m.starts = count("starts");
  m.most_starts = count("most_starts");
  m.first_damping = number("first_damping");
  m.failed_damping = number("failed_damping");
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

inline SearchMethod read_search_method(const ffi::Dictionary& attributes) {
  const auto number = [&](std::string_view name) { return read_attribute<float>(attributes, name); };
  const SearchMethod m{read_attribute<int32_t>(attributes, "runs"), number("flat"), number("least_variance"),
                       number("rounding")};
  expect("runs: expected 1 to 16", 0 < m.runs && m.runs <= kMostRuns);
  return m;
}

inline std::string_view read_family(const ffi::Dictionary& attributes) {
  return read_attribute<std::string_view>(attributes, "family");
}

template <class Family_>
struct Chosen {
  using Family = Family_;
};

// body(Chosen<Family>()) for the family of that name.
template <class Body>
auto with_family(std::string_view name, Body body) {
  if (name == "sigmoid") return body(Chosen<Sigmoid>());
  if (name == "hyperbola") return body(Chosen<Hyperbola>());
  if (name == "power_law") return body(Chosen<PowerLaw>());
  throw std::invalid_argument("unknown family");
}

inline int64_t thetas_of(std::string_view family) {
  return with_family(family, [](auto chosen) -> int64_t { return decltype(chosen)::Family::kTheta; });
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
                            Floats grid, Floats shapes, ffi::Result<Floats> coefficients, ffi::Result<Flags> active,
                            ffi::Result<Flags> converged, ffi::Result<Counts> passes, ffi::Dictionary attributes) {
  const Block block = read_block(x, loss, weight, least.typed_data(), most.typed_data());
  const int64_t curves = block.curves, theta = thetas_of(read_family(attributes));
  const int64_t number = shapes.dimensions().size() == 0 ? 0 : shapes.dimensions()[0];
  expect("templates: expected 1 to 2^24", 0 < number && number <= kMostTemplates);
  expect("least", least, {curves}), expect("most", most, {curves});
  expect("lower", lower, {theta}), expect("upper", upper, {theta});
  expect("grid", grid, {number, theta}), expect("shapes", shapes, {number, block.n});
  expect("coefficients", *coefficients, {2 + theta, curves}), expect("active", *active, {2 + theta, curves});
  expect("converged", *converged, {curves}), expect("passes", *passes, {curves});
  const Templates templates(read_search_method(attributes), static_cast<int>(number), block.n);
  return {block,
          {lower.typed_data(), upper.typed_data(), grid.typed_data(), templates, read_method(attributes)},
          shapes.typed_data(),
          {block.curves, coefficients->typed_data(), active->typed_data(), converged->typed_data(),
           passes->typed_data()},
          read_family(attributes)};
}

inline MeasureMethod read_measure_method(const ffi::Dictionary& attributes) {
  const auto number = [&](std::string_view name) { return read_attribute<float>(attributes, name); };
  const auto count = [&](std::string_view name) { return read_attribute<int32_t>(attributes, name); };
  return {{count("points_a_parameter"), number("most_correlation"), number("growth_variance")},
          {number("most_whitened"), number("trust_in_growth"), number("rounding")},
          {count("step_parameters"), number("least_step")},
          number("dependent"),
          number("caution"),
          number("second_caution")};
}

template <class Before>
auto measure_binding(Before before) {
  return std::move(before)
      .template Arg<Floats>().template Arg<Floats>().template Arg<Floats>().template Arg<Floats>()
      .template Arg<Flags>().template Arg<Floats>().template Arg<Floats>().template Arg<Floats>()
      .template Ret<Floats>().template Ret<Floats>().template Ret<Floats>().template Ret<Floats>()
      .template Ret<Floats>().template Ret<Floats>().template Ret<Floats>().template Ret<Floats>()
      .template Ret<Floats>().template Ret<Floats>().template Ret<Floats>().template Ret<Floats>()
      .Attrs();
}

using Numbers = ffi::Result<Floats>;

inline MeasureCall read_measure(Floats x, Floats loss, Floats weight, Floats coefficients, Flags active, Floats std,
                                Floats odds, Floats scalars, Numbers factor, Numbers meat, Numbers rss,
                                Numbers constant, Numbers tss, Numbers white_rss, Numbers white_gain,
                                Numbers second_rss, Numbers second_gain, Numbers long_run, Numbers correlation,
                                Numbers deviation, ffi::Dictionary attributes) {
  const Block block = read_block(x, loss, weight, nullptr, nullptr);
  const int64_t curves = block.curves, n = block.n, size = 2 + thetas_of(read_family(attributes));
  expect("coefficients", coefficients, {size, curves}), expect("active", active, {size, curves});
  expect("std", std, {n}), expect("odds", odds, {n}), expect("scalars", scalars, {4});
  expect("factor", *factor, {size, size, curves}), expect("meat", *meat, {size, size, curves});
  for (Numbers* each : {&rss, &constant, &tss, &white_rss, &white_gain, &second_rss, &second_gain, &long_run,
                        &correlation, &deviation})
    expect("results", **each, {curves});
  return {block,
          {block.curves, coefficients.typed_data(), active.typed_data()},
          {std.typed_data(), odds.typed_data(), scalars.typed_data()},
          read_measure_method(attributes),
          {block.curves, factor->typed_data(), meat->typed_data(), rss->typed_data(), constant->typed_data(),
           tss->typed_data(), white_rss->typed_data(), white_gain->typed_data(),
           second_rss->typed_data(), second_gain->typed_data(), long_run->typed_data(),
           correlation->typed_data(), deviation->typed_data()},
          read_family(attributes)};
}

// Runs body(), which reads a call and does it: what it throws becomes an error, for JAX has no way out for exceptions.
template <class Body>
ffi::Error answer(Body body) try {
  body();
  return ffi::Error::Success();
} catch (const std::invalid_argument& error) {
  return ffi::Error::InvalidArgument(error.what());
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the fits; give a smaller block_size");
} catch (const std::exception& error) {
  return ffi::Error::Internal(error.what());
}

}  // namespace tsl_jax
