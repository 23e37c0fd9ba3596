// A .gguf file: metadata, tensor table and weights, then the tokenizer and chat template inside.

#include "engine/loaded_model.h"
#include "engine/model_text.h"
#include "fuzz.h"

using namespace packhorse;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder;
  static const std::string path = folder.file("model.gguf");
  folder.write("model.gguf", fuzz::text_of(data, size));
  fuzz::expect_error_only([] { inspect_json(LoadedModel(fuzz::engine_options(), path), true, 0); });
  // What of the text does not need the weights to be good.
  fuzz::expect_error_only([] {
    const CheckpointView view = open_checkpoint(path);
    fuzz::expect_error_only([&] { eos_token_ids(view, Json::object(), nullptr, 1000); });
    fuzz::expect_error_only([&] { ChatTemplate(find_chat_template(view, "")); });
    const Tokenizer tokenizer = load_tokenizer(view, "");
    tokenizer.decode(tokenizer.encode("some text\xff <s>\n 12"), true);
  });
  return 0;
}
