// The curve families of benchmarks/fitting/models.py as models of Cpufit; see build_cpufit.sh.
// x, the coordinate of the checkpoints, comes as user info; derivatives are stored parameter by parameter.
#include <cmath>
#include <cstddef>

namespace families {

enum Model { SIGMOID = 100, HYPERBOLA = 101, POWER_LAW = 102 };

// Number of parameters of a model; 0 for one that is not here.
inline int parameters(int model) {
    return model == SIGMOID ? 4 : model == HYPERBOLA || model == POWER_LAW ? 3 : 0;
}

inline void curve(int model, float const *p, float const *x, std::size_t n, float *value, float *derivative) {
    float *by[4] = {derivative, derivative + n, derivative + 2 * n, derivative + 3 * n};
    float const rate = std::exp(p[model == SIGMOID ? 3 : 1]);
    for (std::size_t i = 0; i < n; i++) {
        if (model == SIGMOID) {  // before p0, after p1, event p2, log sharpness p3
            float const z = rate * (x[i] - p[2]), s = 1 / (1 + std::exp(z));
            float const slope = (p[0] - p[1]) * s * (1 - s);
            value[i] = p[1] + (p[0] - p[1]) * s;
            by[0][i] = s;
            by[1][i] = 1 - s;
            by[2][i] = slope * rate;
            by[3][i] = -slope * z;
            continue;
        }
        // Drop p0, log rate p1, end p2.
        float const s = model == HYPERBOLA ? 1 / (1 + rate * x[i]) : std::exp(-rate * x[i]);
        float const slope = model == HYPERBOLA ? -s * (1 - s) : -s * rate * x[i];
        value[i] = p[0] * s + p[2];
        by[0][i] = s;
        by[1][i] = p[0] * slope;
        by[2][i] = 1;
    }
}

}  // namespace families

// How LMFitCPP::calc_curve_values begins.
#define FAMILIES_ELSE                                                                                       \
    if (families::parameters(info_.model_id_))                                                              \
        families::curve(info_.model_id_, parameters_, reinterpret_cast<float const *>(user_info_),          \
                        info_.n_points_, curve.data(), derivatives.data());                                 \
    else
