#include "formats/qweight.h"

#include <algorithm>

#include "base/error.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxGroupSize = 1 << 30;

/// Dimension i of a tensor; -1 where there is none or it is out of range.
int64_t dim(const TensorInfo* tensor, size_t i) {
  return tensor && tensor->shape.size() == 2 && tensor->shape[i] <= INT32_MAX ? static_cast<int64_t>(tensor->shape[i])
                                                                              : -1;
}

bool is_gptq_shape(const TensorInfo& words, const Module& module) {
  const int64_t bits = dim(&words, 0) * 32 / module.k;
  return dim(&words, 1) == module.n && bits >= 2 && bits <= 8 && dim(&words, 0) * 32 == bits * module.k;
}

bool is_gemm_shape(const TensorInfo& words, const Module& module) {
  const int64_t columns = dim(&words, 1);
  return dim(&words, 0) == module.k && (columns * 8 == module.n || columns * 4 == module.n);
}

/// Whether shapes that fit one scale per row and group, [n, 8 W], fit the other orientation, [groups, n], less well.
bool has_gemv_scales(const CheckpointView& view, const Module& module) {
  const TensorInfo* scales = view.find(tensor_name(module, "scales"));
  const bool by_rows = dim(scales, 0) == module.n && dim(scales, 1) % 8 == 0, by_columns = dim(scales, 1) == module.n;
  if (by_rows && by_columns) {
    const Json* version = find_member(view.quantization_config, "version");
    return version && version->is_string() && lower(version->get<std::string>()) == "gemv";
  }
  return by_rows;
}

}  // namespace

QweightLayout qweight_layout(const CheckpointView& view, const Module& module) {
  const TensorInfo* words = view.find(tensor_name(module, "qweight"));
  if (!words || module.n <= 0 || module.k <= 0) return QweightLayout::none;
  if (words->dtype == DType::i16)
    return dim(words, 0) * 4 == module.n && dim(words, 1) == module.k ? QweightLayout::awq_gemv_fast
                                                                      : QweightLayout::none;
  if (words->dtype != DType::i32) return QweightLayout::none;
  const bool has_zeros = view.find(tensor_name(module, "qzeros")) != nullptr;
  if (!has_zeros && dim(words, 0) * 16 == module.k && dim(words, 1) == 2 * module.n) return QweightLayout::awq_marlin;
  const bool gemv = dim(words, 0) == module.n && dim(words, 1) * 8 == module.k;
  if (is_gptq_shape(*words, module))
    return gemv && has_gemv_scales(view, module) ? QweightLayout::awq_gemv : QweightLayout::gptq;
  if (is_gemm_shape(*words, module))
    return gemv && has_gemv_scales(view, module) ? QweightLayout::awq_gemv : QweightLayout::awq_gemm;
  return gemv ? QweightLayout::awq_gemv : QweightLayout::none;
}

std::string qweight_method(const CheckpointView& view) {
  const Json& settings = view.quantization_config;
  if (!settings.is_object()) return "";
  if (const std::string method = quant_method(view); !method.empty()) return method;
  const Json* method = find_member(settings, "method");  // of GPTQModel
  if (method && method->is_string()) return lower(method->get<std::string>());
  const auto has = [&](const char* key) { return find_member(settings, key) != nullptr; };
  if (has("w_bit") || has("q_group_size") || has("zero_point")) return "awq";
  if (has("packing_format") || has("autoround_version")) return "auto-round";
  return has("bits") && has("group_size") ? "gptq" : "";
}

bool has_tensor_like(const CheckpointView& view, std::string_view ending, DType dtype) {
  return std::ranges::any_of(view.tensors, [=](const auto& tensor) {
    return tensor.second.dtype == dtype && std::string_view(tensor.first).ends_with(ending);
  });
}

WordSettings read_word_settings(const Json& object, const WordSettings& base, std::string where) {
  WordSettings out{base.bits, base.group_size, std::move(where)};
  for (const char* key : {"w_bit", "bits"}) out.bits = whole_number(object, key, 2, 8, out.bits, out.where);
  for (const char* key : {"q_group_size", "group_size"}) {
    const Json* size = find_member(object, key);
    if (size && *size == -1)
      out.group_size = -1;
    else
      out.group_size = whole_number(object, key, 1, kMaxGroupSize, out.group_size, out.where);
  }
  return out;
}

int64_t columns_per_scale(const CheckpointView& view, const Module& module, const WordSettings& settings,
                          int64_t n_groups) {
  const int64_t k = module.k;
  const int64_t size = settings.group_size == -1 ? k : settings.group_size;
  if (n_groups < 1 || (size ? n_groups != (k + size - 1) / size : k % n_groups != 0))
    reject_words(view, module, settings);
  return size ? size : k / n_groups;
}

void reject_words(const CheckpointView& view, const Module& module, const WordSettings& settings,
                  std::initializer_list<std::string_view> parts) {
  std::string got;
  for (const std::string_view part : parts) {
    const TensorInfo* tensor = view.find(tensor_name(module, part));
    got += fmt::format("{}{} {}", got.empty() ? "" : ", ", part, tensor ? shape_text(*tensor) : "none");
  }
  const std::string bits = settings.bits ? fmt::format(" of {} bits", settings.bits) : "";
  const std::string groups = settings.group_size ? fmt::format(" with group_size {}", settings.group_size) : "";
  fail_model("{}: shapes do not fit a matrix [{}, {}]{}{} (got {}; settings: {})",
             view.describe(tensor_name(module, *parts.begin())), module.n, module.k, bits, groups, got, settings.where);
}

ScaleType float_scale_type(const CheckpointView& view, const std::string& name) {
  const TensorInfo& tensor = view.at(name);
  if (!is_plain_float(tensor.dtype))
    fail_model("{}: wrong dtype (got {}, expected F32, F16 or BF16)", view.describe(name), info(tensor.dtype).name);
  return scale_type(view, name);
}

uint64_t bytes_of(const CheckpointView& view, const Module& module, std::initializer_list<std::string_view> parts) {
  uint64_t bytes = 0;
  for (const std::string_view part : parts) {
    const TensorInfo* tensor = view.find(tensor_name(module, part));
    bytes += tensor ? tensor->n_bytes : 0;
  }
  return bytes;
}

}  // namespace packhorse
