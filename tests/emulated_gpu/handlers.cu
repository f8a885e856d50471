// The kernel for GPUs as JAX calls it on a CPU, where memory of the device is the host's.
#include <cstring>
#include <memory>
#include <vector>

#include "cuda.h"

namespace tsl_jax {

constexpr auto launch = [](const auto& call) {
  std::vector<std::unique_ptr<char[]>> taken;
  run(call, nullptr, Scratch([&](size_t bytes, size_t alignment) -> std::optional<void*> {
    if (alignment > 16) return {};  // as XLA
    taken.emplace_back(new char[bytes]);
    std::memset(taken.back().get(), 0xff, bytes);  // not a number, for who reads what nothing was written to
    return taken.back().get();
  }));
};

constexpr auto call_solve = [](auto... given) { return answer([&] { launch(read_solve(given...)); }); };
constexpr auto call_measure = [](auto... given) { return answer([&] { launch(read_measure(given...)); }); };

}  // namespace tsl_jax

XLA_FFI_DEFINE_HANDLER_SYMBOL(emulated_solve, tsl_jax::call_solve, tsl_jax::solve_binding(tsl_jax::ffi::Ffi::Bind()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(emulated_measure, tsl_jax::call_measure,
                              tsl_jax::measure_binding(tsl_jax::ffi::Ffi::Bind()));
