#include "engine/loaded_model.h"

#include <malloc.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "engine/kv_calibration.h"
#include "io/hf_directory.h"
#include "nn/context_length.h"

namespace packhorse {
namespace {

std::string checkpoint_dtype(const CheckpointView& view) {
  for (const Json& config : {view.config, view.config.value("text_config", Json::object())}) {
    if (!config.is_object()) continue;
    for (const char* key : {"dtype", "torch_dtype"}) {
      if (config.contains(key) && config[key].is_string()) return config[key].get<std::string>();
    }
  }
  return "";
}

QuantizationRequest quantization_request(const EngineOptions& options) {
  QuantizationRequest request{.method = options.quantization, .load_format = options.load_format, .config = {}};
  if (!options.quantization_config.empty()) {
    const std::string& given = options.quantization_config;  // JSON, or a file of it
    const size_t first = given.find_first_not_of(" \t\r\n");
    try {
      const bool is_file = first != given.npos && given[first] != '{' && std::filesystem::is_regular_file(given);
      request.config = is_file ? read_json_object(given) : parse_json(given, "quantization_config");
    } catch (const Error& e) {
      throw Error(ErrorKind::usage, e.what());
    }
  }
  return request;
}

void check_options(const EngineOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    if (value < least) fail(ErrorKind::usage, "{}: {} is less than {}", name, value, least);
  };
  at_least("max_model_len", options.max_model_len, 0);
  at_least("max_num_seqs", options.max_num_seqs, 1);
  at_least("max_num_batched_tokens", options.max_num_batched_tokens, 1);
  at_least("kv_cache_memory_bytes", options.kv_cache_memory_bytes, 0);
  at_least("template_steps", options.template_steps, 1);
  at_least("template_output_mb", options.template_output_mb, 1);
  at_least("threads", options.threads, 0);
  if (options.threads > 1024) fail(ErrorKind::usage, "threads: {} is more than 1024", options.threads);
  if (options.tensor_parallel_size != 1)
    fail(ErrorKind::usage, "tensor_parallel_size: {} is not supported yet (1)", options.tensor_parallel_size);
  if (options.device != "auto" && options.device != "cpu") {
    fail(ErrorKind::resource, "device: '{}' is not supported by this build (auto, cpu)", printable(options.device));
  }
}

/// A warning about tensors that no layer asked for: one for all, or for each of them.
void warn_unused(std::vector<std::string> unused, bool verbose, std::vector<std::string>& warnings) {
  if (unused.empty()) return;
  const size_t n_more = verbose ? 0 : unused.size() - 1;
  if (!verbose) unused.resize(1);
  for (const std::string& tensor : unused) {
    const std::string more = n_more > 0 ? fmt::format(" (and of {} more, which --verbose lists)", n_more) : "";
    warnings.push_back(fmt::format("{}: the model has no use of it{}", tensor, more));
  }
}

Config read_config(const CheckpointView& view, const Arch& arch) {
  if (!view.is_gguf()) return Config::from_hf(view.config);
  return Config::from_gguf(view.gguf, view.files[0].name(), arch.gguf.architecture, arch.gguf.keys);
}

}  // namespace

LoadedModel::LoadedModel(const EngineOptions& given, const std::string& path) : LoadedModel(given, path, false) {}

LoadedModel::LoadedModel(const EngineOptions& given, const std::string& path, bool format_act)
    : options((check_options(given), given)),
      view(open_checkpoint(path)),
      arch(&find_arch(architectures(), view)),
      quantization(plan_quantization(view, quantization_request(options))),
      precision(resolve_precision(options.dtype, options.kv_cache_dtype, checkpoint_dtype(view), has_kv_scales(view))),
      selector(options.isa, options.force_kernel),
      pool(options.threads > 0 ? options.threads : available_cpus()) {
  const Config config = read_config(view, *arch);
  max_model_len = context_length(config, options.max_model_len);
  LoadOptions load{.quantization = quantization,
                   .fast = precision.fast,
                   .format_act = format_act,
                   .kv_dtype = precision.kv,
                   .max_model_len = max_model_len,
                   .on_progress = {}};
  if (options.on_progress) {
    const char* what = quantization.in_flight ? "Quantizing weights" : "Loading weights";
    load.on_progress = [this, what](uint64_t done, uint64_t total) { options.on_progress(what, done, total); };
  }
  Loader loader(view, *arch, selector, pool, std::move(load));
  model = arch->build(config, loader);
  loader.finish_progress();
  warnings = view.notes;
  settle_kv_scales(loader.layers_without_kv_scales());
  warn_without_effect();
  warn_unused(loader.unused_tensors(), options.verbose, warnings);
  view.check_unchanged();  // weights read while a file was being written are worth nothing
  malloc_trim(0);          // blocks that were read and packed leave holes behind
}

void LoadedModel::warn_without_effect() {
  const std::string method = quantization.in_flight ? quantization.config.at("quant_method").get<std::string>() : "";
  bool is_used = false, is_plain = true;
  model->visit_weights([&](const ModuleRows& rows, const PackedWeight&) {
    is_used |= rows.format == method;
    is_plain &= rows.format == kPlainFormat;
  });
  if (quantization.in_flight && !is_used) {
    warnings.push_back(fmt::format("quantization {}: no weight of this model is quantized by it", method));
  } else if (!quantization.in_flight && is_plain && quantization.description != kPlainFormat) {
    warnings.push_back(
        fmt::format("quantization {}: all weights are plain, though; naming it quantizes them if it can be made in "
                    "flight",
                    quantization.description));
  }
}

void LoadedModel::settle_kv_scales(std::span<const int64_t> missing) {
  if (precision.kv != KvDType::fp8_e4m3) {
    if (options.calculate_kv_scales)
      warnings.push_back(
          fmt::format("calculate_kv_scales: no effect with kv_cache_dtype {}", precision.kv_cache_dtype));
  } else if (missing.empty()) {
    if (options.calculate_kv_scales)
      warnings.push_back("calculate_kv_scales: no effect, the checkpoint has scales of keys and values");
  } else if (options.calculate_kv_scales) {
    calibrate_kv_scales(*model, pool, max_model_len, missing);
  } else {
    const std::string where = has_kv_scales(view)
                                  ? fmt::format("{} layers, from the {}. on, have", missing.size(), missing.front() + 1)
                                  : "the checkpoint has";
    warnings.push_back(
        fmt::format("kv_cache_dtype fp8: {} no scales of keys and values; 1 is taken (--calculate-kv-scales measures "
                    "them)",
                    where));
  }
}

std::string inspect_json(const LoadedModel& loaded, bool explain, uint64_t kv_bytes) {
  Json modules = Json::array();
  uint64_t weight_bytes = 0, step_bytes = 0;
  double n_weights = 0, n_bits = 0;
  std::vector<const PackedWeight*> seen;
  loaded.model->visit_weights([&](const ModuleRows& rows, const PackedWeight& weight) {
    const std::string kernel = weight.kernel().name();
    const auto bytes = static_cast<uint64_t>(static_cast<double>(weight.packed_bytes()) *
                                             static_cast<double>(rows.n_rows) / static_cast<double>(weight.n()));
    const bool first = std::ranges::find(seen, &weight) == seen.end();
    const bool shared = !first && rows.first_row == 0;  // a tied head
    if (first) {
      seen.push_back(&weight);
      weight_bytes += weight.packed_bytes();
    }
    step_bytes += static_cast<uint64_t>(static_cast<double>(bytes) * rows.read_share);
    const double bits = bits_per_weight(weight.view().encoding, weight.k());
    const double size = shared ? 0 : static_cast<double>(rows.n_rows) * static_cast<double>(weight.k());
    n_weights += size;
    n_bits += size * bits;
    Json entry = {{"name", rows.module},
                  {"format", rows.format},
                  {"encoding", describe(weight.view().encoding)},
                  {"shape", {rows.n_rows, weight.k()}},
                  {"decode", kernel},
                  {"prefill", kernel},
                  {"bytes", shared ? 0 : bytes},
                  {"bits_per_weight", bits},
                  {"shared", shared}};
    if (explain) {
      Json candidates = Json::array();
      std::string_view text = weight.why_not();
      for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
        const std::string_view line = text.substr(0, end);
        const size_t colon = line.find(": ");
        candidates.push_back(
            {{"phase", "both"}, {"kernel", line.substr(0, colon)}, {"why_not", line.substr(colon + 2)}});
      }
      candidates.push_back({{"phase", "both"}, {"kernel", kernel}, {"why_not", nullptr}});
      entry["candidates"] = std::move(candidates);
    }
    modules.push_back(std::move(entry));
  });
  return Json{{"model", loaded.view.path},
              {"architecture", loaded.arch->name},
              {"quantization", loaded.quantization.description},
              {"dtype", loaded.precision.dtype},
              {"kv_cache_dtype", loaded.precision.kv_cache_dtype},
              {"max_model_len", loaded.max_model_len},
              {"vocab_size", loaded.model->vocab_size()},
              {"isa", loaded.selector.isa()},
              {"threads", loaded.pool.size()},
              {"n_weights", static_cast<uint64_t>(n_weights)},
              {"bits_per_weight", n_weights > 0 ? n_bits / n_weights : 0.0},
              {"weight_bytes", weight_bytes},
              {"weight_bytes_per_step", step_bytes},
              {"kv_bytes_per_token", KvPool::bytes_per_block(loaded.model->cache_specs()) / kKvBlockTokens},
              {"kv_cache_bytes", kv_bytes},
              {"modules", std::move(modules)}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);  // a path may hold any bytes
}

}  // namespace packhorse
