// The best points of a block's curves in memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "projection.h"

namespace tsl_jax {

// What is known of every curve of a block, one array a quantity.
template <int kTheta>
class Points {
 public:
  static constexpr int kFields = sizeof(Point<kTheta>) / sizeof(Vector);

  explicit Points(int curves) : curves_(curves), values_(static_cast<size_t>(curves) * kFields), done_(curves) {}

  // A point's fields lie together, so that a lane of it goes to one place in memory.
  void set(int curve, const Point<kTheta>& p, int lane, bool done) {
    const float* in = reinterpret_cast<const float*>(&p) + lane;
    float* out = values_.data() + static_cast<size_t>(curve) * kFields;
    for (int k = 0; k < kFields; ++k) out[k] = in[k * kLanes];
    done_[curve] = done;
  }
  void get(int curve, Point<kTheta>* p, int lane) const {
    const float* in = values_.data() + static_cast<size_t>(curve) * kFields;
    float* out = reinterpret_cast<float*>(p) + lane;
    for (int k = 0; k < kFields; ++k) out[k * kLanes] = in[k];
  }
  Point<kTheta> strip(int first) const {
    Point<kTheta> p;
    for (int lane = 0; lane < kLanes; ++lane) get(std::min(first + lane, curves_ - 1), &p, lane);
    return p;
  }
  float rss(int curve) const {
    return values_[static_cast<size_t>(curve) * kFields + offsetof(Point<kTheta>, rss) / sizeof(Vector)];
  }
  bool done(int curve) const { return done_[curve]; }

 private:
  int curves_;
  std::vector<float> values_;
  std::vector<uint8_t> done_;
};

}  // namespace tsl_jax
