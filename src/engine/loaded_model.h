#pragma once
// A model opened with its options: checkpoint, architecture, kernels, threads and weights.

#include <memory>
#include <string>
#include <vector>

#include "engine/precision.h"
#include "models/table.h"
#include "nn/loader.h"
#include "packhorse/packhorse.h"

namespace packhorse {

/// Immutable after loading but for the thread pool, which one caller at a time uses.
struct LoadedModel {
  EngineOptions options;
  CheckpointView view;
  const Arch* arch = nullptr;
  QuantizationPlan quantization;
  Precision precision;
  KernelSelector selector;
  ThreadPool pool;
  int64_t max_model_len = 0;
  std::unique_ptr<Model> model;
  std::vector<std::string> warnings;  // one line each

  /// `path` is a directory or file. Throws Error.
  LoadedModel(const EngineOptions& options, const std::string& path);
  /// For tests: as dtype float32, with the activation quantization that the format itself asks for.
  LoadedModel(const EngineOptions& options, const std::string& path, bool format_act);

 private:
  /// Warns when a method quantizes nothing, or the checkpoint's settings fit none of its weights.
  void warn_without_effect();
  /// Measures the scales of an FP8 cache in these layers where that is asked for, else warns that they are missing.
  void settle_kv_scales(std::span<const int64_t> missing);
};

/// Architecture, modules with encoding and kernels, memory; JSON text. `kv_bytes` is what the engine reserved.
std::string inspect_json(const LoadedModel& loaded, bool explain, uint64_t kv_bytes);

}  // namespace packhorse
