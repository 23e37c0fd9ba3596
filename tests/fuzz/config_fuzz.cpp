// config.json, generation_config.json and tokenizer_config.json beside the weights of a small Llama, which load when
// the sizes are left as they are.

#include "engine/loaded_model.h"
#include "engine/model_text.h"
#include "fuzz.h"

using namespace packhorse;

namespace {

/// Two layers of hidden size 8: heads of 4, two for queries and one for keys; 6 wide in between, 5 tokens. All zero.
std::string small_weights() {
  Json header = Json::object();
  size_t n_bytes = 0;
  const auto add = [&](const std::string& name, const std::vector<size_t>& shape) {
    size_t n = sizeof(float);
    for (const size_t dim : shape) n *= dim;
    header[name + ".weight"] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {n_bytes, n_bytes + n}}};
    n_bytes += n;
  };
  add("model.embed_tokens", {5, 8});
  add("model.norm", {8});
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    const std::string prefix = layer;
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) add(prefix + norm, {8});
    add(prefix + "self_attn.q_proj", {8, 8});
    for (const char* name : {"k_proj", "v_proj"}) add(prefix + "self_attn." + name, {4, 8});
    add(prefix + "self_attn.o_proj", {8, 8});
    for (const char* name : {"gate_proj", "up_proj"}) add(prefix + "mlp." + name, {6, 8});
    add(prefix + "mlp.down_proj", {8, 6});
  }
  const std::string text = header.dump();
  const uint64_t n_header = text.size();
  return std::string(reinterpret_cast<const char*>(&n_header), sizeof n_header) + text + std::string(n_bytes, '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder;
  [[maybe_unused]] static const bool is_written = (folder.write("model.safetensors", small_weights()), true);
  const auto parts = fuzz::split_parts(fuzz::text_of(data, size), 3);
  folder.write_or_remove("config.json", parts[0]);
  folder.write_or_remove("generation_config.json", parts[1]);
  folder.write_or_remove("tokenizer_config.json", parts[2]);
  fuzz::expect_error_only([] { inspect_json(LoadedModel(fuzz::engine_options(), folder.path()), true, 0); });
  fuzz::expect_error_only([] {
    const CheckpointView view = open_checkpoint(folder.path());
    fuzz::expect_error_only([&] { ChatTemplate(find_chat_template(view, "")); });
    const Json generation = load_generation_config(view, EngineOptions());
    fuzz::expect_error_only([&] { default_sampling_params(generation).validate_and_normalize(); });
    eos_token_ids(view, generation, nullptr, 5);
  });
  return 0;
}
