#include "engine/pooling.h"

#include <cmath>

namespace packhorse {

void HiddenSum::add(std::span<const float> hidden) {
  sum_.resize(hidden.size());
  for (size_t i = 0; i < hidden.size(); ++i) sum_[i] += static_cast<double>(hidden[i]);
}

std::vector<float> HiddenSum::embedding(const PoolingParams& params, int64_t n_prompt) const {
  std::vector<double> values = sum_;
  if (is_mean(params)) {
    for (double& value : values) value /= static_cast<double>(n_prompt);
  }
  if (params.dimensions) values.resize(static_cast<size_t>(*params.dimensions));
  double squares = 0;
  for (const double value : values) squares += value * value;
  const double scale = params.normalize && squares > 0 ? 1 / std::sqrt(squares) : 1;
  std::vector<float> out;
  out.reserve(values.size());
  for (const double value : values) out.push_back(static_cast<float>(value * scale));
  return out;
}

}  // namespace packhorse
