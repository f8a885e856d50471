#!/bin/sh
# Build Cpufit, Gpufit's library for CPUs, with the curve families of the benchmarks added.
#
#     sh benchmarks/fitting/build_cpufit.sh SOURCE LIBRARY
#
# SOURCE is an unpacked copy of https://github.com/gpufit/Gpufit (MIT licence), which is not changed; LIBRARY the file
# to make. What to set in the environment for the benchmarks is printed at the end.
set -eu
source=$1 library=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$source/Cpufit" "$source/Gpufit" "$work"
cp "$here/cpufit_models.h" "$work/Cpufit"
cd "$work/Cpufit"
# A model that Cpufit does not know is one of ours.
sed -i -e '1i #include "cpufit_models.h"' \
    -e 's/throw std::runtime_error("unknown model ID");/if (!(n_parameters_ = families::parameters(model_id))) &/' \
    interface.cpp
sed -i -e '1i #include "cpufit_models.h"' \
    -e '/^void LMFitCPP::calc_curve_values/,/^}/s/^    if (info_.model_id_ == GAUSS_1D)/    FAMILIES_ELSE &/' \
    lm_fit_cpp.cpp
"${CXX:-c++}" -O3 -march=native -fPIC -shared -fvisibility=hidden -o library.so \
    cpufit.cpp info.cpp lm_fit.cpp lm_fit_cpp.cpp interface.cpp
cd - >/dev/null
cp "$work/Cpufit/library.so" "$library"
echo "export TSL_GPUFIT_LIBRARY=$(realpath "$library") TSL_GPUFIT_MODELS=sigmoid=100,hyperbola=101,power_law=102"
