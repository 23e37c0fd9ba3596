// Float weights quantized to bitsandbytes encodings while they load. Codes come from the weight in its own dtype.

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/shared_work.h"
#include "formats/bitsandbytes.h"
#include "formats/flat_source.h"

namespace packhorse {
namespace {

struct Settings {
  bool int8 = false;
  float outlier_threshold = kInt8OutlierThreshold;
  const CodeTable* table = &kNf4;
  uint32_t block = 64;
  bool nested = true;
  std::vector<std::string> skip;  // dotted components or prefixes of module names
};

[[noreturn]] void fail_key(std::string_view key, std::string_view expected, const Json& value) {
  fail(ErrorKind::usage, "quantization_config: {}: expected {} (got {})", printable(key), expected, preview(value));
}

bool as_bool(const std::string& key, const Json& value) {
  if (!value.is_boolean()) fail_key(key, "true or false", value);
  return value.get<bool>();
}

float as_threshold(const std::string& key, const Json& value) {
  const float threshold = value.is_number() ? value.get<float>() : -1.0f;
  if (!(threshold >= 0) || std::isinf(threshold)) fail_key(key, "a number from 0 on", value);
  return threshold;
}

const CodeTable* as_table(const std::string& key, const Json& value) {
  for (const CodeTable* table : {&kNf4, &kFp4}) {
    if (value == table->name) return table;
  }
  fail_key(key, "nf4 or fp4", value);
}

uint32_t as_block(const std::string& key, const Json& value) {
  const auto block = as_unsigned(value);
  if (!block || !is_4bit_block(*block)) fail_key(key, "a power of two in 32..4096", value);
  return static_cast<uint32_t>(*block);
}

std::vector<std::string> as_names(const std::string& key, const Json& value) {
  const auto is_string = [](const Json& name) { return name.is_string(); };
  if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_string))
    fail_key(key, "an array of module names", value);
  return value.get<std::vector<std::string>>();
}

/// Keys that transformers writes and that say nothing about the weights.
bool is_inert(std::string_view key) {
  constexpr std::string_view kInert[] = {"quant_method",
                                         "_load_in_4bit",
                                         "_load_in_8bit",
                                         "bnb_4bit_compute_dtype",
                                         "bnb_4bit_quant_storage",
                                         "llm_int8_has_fp16_weight",
                                         "llm_int8_enable_fp32_cpu_offload"};
  return std::find(std::begin(kInert), std::end(kInert), key) != std::end(kInert);
}

Settings parse_settings(const Json& config) {
  Settings settings;
  std::optional<bool> four_bit;
  for (const auto& [key, value] : config.items()) {
    if (value.is_null() || is_inert(key)) continue;
    if (key == "load_in_4bit")
      four_bit = as_bool(key, value);
    else if (key == "load_in_8bit")
      settings.int8 = as_bool(key, value);
    else if (key == "bnb_4bit_quant_type")
      settings.table = as_table(key, value);
    else if (key == "bnb_4bit_use_double_quant")
      settings.nested = as_bool(key, value);
    else if (key == "bnb_4bit_blocksize")
      settings.block = as_block(key, value);
    else if (key == "llm_int8_threshold")
      settings.outlier_threshold = as_threshold(key, value);
    else if (key == "llm_int8_skip_modules")
      settings.skip = as_names(key, value);
    else
      fail(ErrorKind::usage, "quantization_config: bitsandbytes has no setting '{}'", printable(key));
  }
  if (four_bit == true && settings.int8)
    fail(ErrorKind::usage, "quantization_config: load_in_4bit and load_in_8bit: one of them can be true (got both)");
  if (four_bit == false && !settings.int8) {
    fail(ErrorKind::usage, "quantization_config: load_in_4bit: false leaves nothing to do without load_in_8bit");
  }
  return settings;
}

/// An entry skips a module when it is one dotted component of its name or a dotted prefix of it.
bool is_skipped(std::string_view module, const std::vector<std::string>& skip) {
  const std::string dotted = fmt::format(".{}.", module);
  return std::any_of(skip.begin(), skip.end(), [&](const std::string& entry) {
    const std::string wanted = fmt::format(".{}.", entry);
    return entry.find('.') == entry.npos ? dotted.find(wanted) != dotted.npos : dotted.starts_with(wanted);
  });
}

/// Nested statistics of a whole weight, which every row needs. The threads that ask first share the work of measuring.
class NestedStatistics {
 public:
  NestedStatistics(const FlatSource& source, uint32_t block)
      : source_(source),
        block_(block),
        absmax_(static_cast<size_t>((source.size() + block - 1) / block)),
        measuring_((source.size() + kChunk - 1) / kChunk) {}

  const NestedAbsmax& get() {
    measuring_.run([this](int64_t chunk) { measure(chunk); },
                   [this] {
                     nested_ = encode_nested(absmax_);
                     absmax_ = {};
                   });
    return nested_;
  }

 private:
  static constexpr int64_t kChunk = 16 * FlatSource::kPiece;

  void measure(int64_t chunk) {
    const int64_t first = chunk * kChunk, end = std::min(first + kChunk, source_.size());
    source_.for_each_piece(first, end, [&](int64_t at, std::span<const float> values) {
      block_absmax(values.data(), static_cast<int64_t>(values.size()), block_, absmax_.data() + at / block_);
    });
  }
  const FlatSource& source_;
  const uint32_t block_;
  std::vector<float> absmax_;  // one per block
  SharedWork measuring_;       // of chunks
  NestedAbsmax nested_;
};

class FourBitEncoder {
 public:
  FourBitEncoder(WeightPlan plan, const Settings& settings)
      : source_(std::move(plan)), encoding_(bitsandbytes_4bit(*settings.table, settings.block)) {
    if (settings.nested) statistics_ = std::make_unique<NestedStatistics>(source_, settings.block);
  }

  const Encoding& encoding() const { return encoding_; }

  void read(int64_t begin, int64_t count, RowBlock& rows) const {
    const int64_t k = source_.plan().k, block = encoding_.grouping.size;
    rows.resize(encoding_, begin, count, k);
    const int64_t first = begin * k, end = first + count * k;
    // Blocks that reach into the rows around these are coded whole.
    const int64_t first_block = first / block, end_block = (end + block - 1) / block;
    std::vector<float> scales(static_cast<size_t>(end_block - first_block));
    std::vector<uint8_t> codes(FlatSource::kPiece);
    source_.for_each_piece(first_block * block, std::min(end_block * block, source_.size()),
                           [&](int64_t at, std::span<const float> values) {
                             const auto n = static_cast<int64_t>(values.size());
                             encode_4bit(*encoding_.table, values.data(), n, encoding_.grouping.size, codes.data(),
                                         scales.data() + (at / block - first_block));
                             const int64_t from = std::max(at, first), to = std::min(at + n, end);
                             if (from < to)
                               std::copy_n(codes.data() + (from - at), to - from, rows.codes.data() + (from - first));
                           });
    if (statistics_) {
      const NestedAbsmax& nested = statistics_->get();
      decode_nested(std::span(nested.codes).subspan(static_cast<size_t>(first_block), scales.size()), first_block,
                    dynamic_map(), nested.absmax, kNestedBlock, nested.offset, scales.data());
    }
    spread_block_scales(scales.data(), first, rows.group_k, count * rows.n_groups, encoding_.grouping.size,
                        rows.scale.data());
  }

 private:
  FlatSource source_;
  Encoding encoding_;
  std::unique_ptr<NestedStatistics> statistics_;  // synchronizes itself
};

WeightPlan four_bit_plan(WeightPlan plan, const Settings& settings) {
  const auto encoder = std::make_shared<const FourBitEncoder>(plan, settings);
  plan.encoding = encoder->encoding();
  plan.read = [encoder](int64_t begin, int64_t count, RowBlock& rows) { encoder->read(begin, count, rows); };
  return plan;
}

WeightPlan int8_plan(WeightPlan plan, const Settings& settings) {
  const std::string name = plan.name;
  return encode_rows(std::move(plan), bitsandbytes_int8(settings.outlier_threshold),
                     [name](std::span<const float> values, int64_t, RowBlock& rows, int64_t r) {
                       require_finite(values, name);
                       std::vector<float> row(values.begin(), values.end());
                       rows.scale[static_cast<size_t>(r)] =
                           encode_int8_row(row.data(), rows.k, rows.codes.data() + r * rows.k);
                     });
}

}  // namespace

std::string check_bitsandbytes_in_flight(const Json& config) {
  const Settings settings = parse_settings(config);
  if (settings.int8) return fmt::format("int8, outliers from {}", settings.outlier_threshold);
  return fmt::format("{}, block {}{}", settings.table->name, settings.block, settings.nested ? ", nested absmax" : "");
}

WeightPlan bitsandbytes_in_flight(WeightPlan plan, const Module& module, const Json& config) {
  const Settings settings = parse_settings(config);
  if (is_skipped(module.name, settings.skip)) return plan;
  return settings.int8 ? int8_plan(std::move(plan), settings) : four_bit_plan(std::move(plan), settings);
}

}  // namespace packhorse
