// Unquantized weights: `<source>.weight` in F32, F16 or BF16, [N, K] row-major, in any container.

#include "base/error.h"
#include "formats/source.h"

namespace packhorse {
namespace {

bool claims(const CheckpointView& view, const Module& module) {
  const TensorInfo* weight = view.find(weight_name(module));
  return weight && is_plain_float(weight->dtype);
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const std::string name = weight_name(module);
  const RowSource source(view, module, name);
  const Encoding encoding = float_encoding(source.tensor().dtype);
  return {.name = view.describe(name),
          .encoding = encoding,
          .n = module.n,
          .k = module.k,
          .source_bytes = source_bytes(source.tensor(), module),
          .read = [source, encoding](int64_t begin, int64_t count, RowBlock& rows) {
            rows.resize(encoding, begin, count, source.k());
            source.read_into(begin, count, rows.codes.data());
          }};
}

}  // namespace

extern constexpr Format kPlain{.name = kPlainFormat, .claims = claims, .plan = plan};

}  // namespace packhorse
