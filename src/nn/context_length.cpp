#include "nn/context_length.h"

#include "base/error.h"

namespace packhorse {

int64_t context_length(const Config& config, int64_t requested) {
  constexpr int64_t kMost = int64_t{1} << 31;
  int64_t limit = config.size("max_position_embeddings", 1, kMost);
  auto scaling = config.section("rope_parameters");
  if (!scaling) scaling = config.section("rope_scaling");
  const std::string type = scaling ? scaling->text_or("rope_type", scaling->text_or("type", "default")) : "default";
  if (type == "linear" || type == "dynamic" || type == "yarn") {
    // YaRN's max_position_embeddings may or may not be multiplied already; the original length tells.
    const int64_t original =
        type == "yarn" ? scaling->size_or("original_max_position_embeddings", 1, kMost, limit) : limit;
    limit = std::max(limit,
                     static_cast<int64_t>(static_cast<double>(original) * scaling->number_or("factor", 1e-6, 1e6, 1)));
  }
  if (requested <= 0) return limit;
  if (requested > limit && type != "dynamic") {
    fail(ErrorKind::usage, "max_model_len: {} is greater than the model's own limit of {} ({})", requested, limit,
         config.where("max_position_embeddings"));
  }
  return requested;
}

}  // namespace packhorse
