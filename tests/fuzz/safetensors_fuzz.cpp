// A model directory: config.json, the index (an empty part: none), then shards.

#include "engine/loaded_model.h"
#include "fuzz.h"

using namespace packhorse;

namespace {

constexpr const char* kShards[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder;
  const auto parts = fuzz::split_parts(fuzz::text_of(data, size), 2 + std::size(kShards));
  folder.write_or_remove("config.json", parts[0]);
  folder.write_or_remove("model.safetensors.index.json", parts[1]);
  for (size_t i = 0; i < std::size(kShards); ++i) folder.write_or_remove(kShards[i], parts[2 + i]);
  fuzz::expect_error_only([] { inspect_json(LoadedModel(fuzz::engine_options(), folder.path()), true, 0); });
  return 0;
}
