// Weights of GGUF files: rows of ggml blocks that lie one after another, nothing between them (gguf_blocks.cpp and
// gguf_codebooks.cpp draw the blocks). NVFP4 alone has something beside them: <module>.scale, F32, a factor of the
// whole weight.

#include <algorithm>

#include "formats/gguf_blocks.h"

namespace packhorse {

const GgufBlock* find_gguf_block(DType type) {
  for (const auto blocks : {gguf_integer_blocks(), gguf_other_blocks()}) {
    for (const GgufBlock& block : blocks) {
      if (block.type == type) return &block;
    }
  }
  return nullptr;
}

namespace {

/// NVFP4's second scale: the number beside the weight, or one for each expert.
float read_outer(const CheckpointView& view, const Module& module) {
  const std::string name = tensor_name(module, "scale");
  if (!view.find(name)) return 1.0f;
  float value = 1;
  GroupValues(view, module, name, GroupValues::Order::one, 1).read(0, 1, &value);
  return value;
}

Origin origin(const CheckpointView& view) {
  if (!view.is_gguf()) return Origin::other;
  const bool any_blocks = std::any_of(view.tensors.begin(), view.tensors.end(),
                                      [](const auto& entry) { return is_ggml_block(entry.second.dtype); });
  return any_blocks ? Origin::quantized : Origin::float_weights;
}

bool claims(const CheckpointView& view, const Module& module) {
  const TensorInfo* weight = view.find(weight_name(module));
  return weight && find_gguf_block(weight->dtype);
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const std::string name = weight_name(module);
  const RowSource source(view, module, name);
  const GgufBlock* block = find_gguf_block(source.tensor().dtype);
  const float outer = block->encoding.outer == Outer::none ? 1.0f : read_outer(view, module);
  return {.name = view.describe(name),
          .encoding = block->encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = source_bytes(source.tensor(), module),
          .read = [source, block, outer](int64_t begin, int64_t count, RowBlock& rows) {
            rows.resize(block->encoding, begin, count, source.k());
            std::ranges::fill(rows.outer, outer);
            const RowSource::Rows raw = source.read(begin, count);
            for (int64_t r = 0; r < count; ++r) block->unpack_row(raw.row(r), r, rows);
          }};
}

}  // namespace

extern constexpr Format kGguf{.name = "gguf", .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
