#include <gmock/gmock.h>

#include "format_testing.h"
#include "io/gguf_writer.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

CheckpointView directory(const Json& quantization_config = nullptr) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  writer.add("a.weight", "F32", {2, 3}, std::vector<float>(6));
  if (!quantization_config.is_null()) writer.add("b.weight", "U8", {6}, std::vector<uint8_t>(6));
  return writer.open(dir, quantization_config);
}

CheckpointView gguf(uint32_t type) {
  const testing::TempDir dir;
  testing::GgufFile file;
  file.keys = {testing::string_key("general.architecture", "llama")};
  file.tensors = {{"output.weight", {32, 2}, type, type == 0 ? 256u : 36u}, {"output_norm.weight", {32}, 0, 128}};
  testing::write_text(dir.file("m.gguf"), file.write());
  return open_checkpoint(dir.file("m.gguf"));
}

const Json kBnb = {{"quant_method", "bitsandbytes"},
                   {"load_in_4bit", true},
                   {"load_in_8bit", false},
                   {"llm_int8_threshold", 6.0},
                   {"llm_int8_skip_modules", nullptr}};

std::string planned(const CheckpointView& view, const QuantizationRequest& request) {
  return plan_quantization(view, request).description;
}
std::string refused(const CheckpointView& view, const QuantizationRequest& request, ErrorKind kind = ErrorKind::usage) {
  return testing::failure_of(kind, [&] { plan_quantization(view, request); });
}

/// The dialects that can be asked for, as messages list them.
std::string supported() {
  std::string out;
  for (const Format* format : formats()) {
    if (format->origin || format->in_flight) out += (out.empty() ? "" : ", ") + std::string(format->name);
  }
  return out + " (`packhorse inspect --formats` lists all their names)";
}

TEST(PlanQuantization, FloatDirectory) {
  const CheckpointView view = directory();
  EXPECT_EQ(planned(view, {}), "none");
  EXPECT_EQ(planned(view, {"", "auto", nullptr}), "none");
  EXPECT_EQ(planned(view, {"", "safetensors", Json::object()}), "none");
  constexpr const char* kDefault = "bitsandbytes (in flight: nf4, block 64, nested absmax)";
  EXPECT_EQ(planned(view, {"bitsandbytes", "auto", nullptr}), kDefault);
  EXPECT_EQ(planned(view, {"bitsandbytes", "bitsandbytes", nullptr}), kDefault);
  EXPECT_EQ(planned(view, {"BitsAndBytes", "safetensors", nullptr}), kDefault);
  EXPECT_EQ(planned(view, {"", "auto", kBnb}), kDefault);
  EXPECT_EQ(planned(view, {"bitsandbytes", "", {{"load_in_8bit", true}}}),
            "bitsandbytes (in flight: int8, outliers from 6)");
  EXPECT_EQ(planned(view, {"bitsandbytes", "", {{"bnb_4bit_quant_type", "fp4"}, {"bnb_4bit_use_double_quant", false}}}),
            "bitsandbytes (in flight: fp4, block 64)");

  EXPECT_THAT(refused(view, {"", "bitsandbytes", nullptr}), HasSubstr("quantization='bitsandbytes'"));
  EXPECT_THAT(refused(view, {"", "gguf", nullptr}), HasSubstr("load_format 'gguf' needs a gguf checkpoint"));
  EXPECT_THAT(refused(view, {"gguf", "", nullptr}), HasSubstr("quantization 'gguf' needs a checkpoint of that format"));
  EXPECT_THAT(refused(view, {"", "", {{"load_in_8bit", true}}}), HasSubstr("quantization_config needs quantization"));
  EXPECT_THAT(refused(view, {"", "", Json::array()}), HasSubstr("expected a JSON object"));
  EXPECT_THAT(refused(view, {"awq", "", {{"quant_method", "bitsandbytes"}}}),
              AllOf(HasSubstr("'awq'"), HasSubstr("'bitsandbytes'")));
}

TEST(PlanQuantization, OtherMethodsAndLoadFormats) {
  const CheckpointView view = directory();
  EXPECT_EQ(refused(view, {"squeezellm", "", nullptr}),
            "quantization 'squeezellm' is not supported yet; supported: " + supported());
  for (const char* method : {"gptq", "compressed-tensors", "deepspeedfp", "hqq", "gpt_oss_mxfp4", "modelopt", "quark",
                             "moe_wna16", "gptq_marlin", "auto-round", "awq"}) {
    EXPECT_THAT(refused(view, {method, "", nullptr}),
                ::testing::AnyOf(HasSubstr("not supported yet"), HasSubstr("needs a checkpoint of that format"),
                                 HasSubstr("quantization_config: bits")))
        << method;
  }
  EXPECT_THAT(refused(view, {"nf5\n", "", nullptr}), HasSubstr("quantization 'nf5\\x0a' is unknown; supported: "));
  for (const char* format : {"pt", "npcache", "dummy", "tensorizer", "sharded_state", "mistral", "none"}) {
    EXPECT_EQ(
        refused(view, {"", format, nullptr}),
        fmt::format("load_format '{}' is not supported; supported: auto, safetensors, gguf, bitsandbytes", format));
  }
}

TEST(PlanQuantization, BitsandbytesDirectory) {
  const CheckpointView view = directory(kBnb);
  for (const char* method : {"", "bitsandbytes"}) {
    for (const char* format : {"", "auto", "safetensors", "bitsandbytes"}) {
      const QuantizationPlan plan = plan_quantization(view, {method, format, nullptr});
      EXPECT_EQ(plan.description, "bitsandbytes (checkpoint)");
      EXPECT_EQ(plan.in_flight, nullptr);
    }
  }
  EXPECT_EQ(planned(view, {"bitsandbytes",
                           "",
                           {{"load_in_4bit", true}, {"llm_int8_threshold", 6}, {"llm_int8_skip_modules", nullptr}}}),
            "bitsandbytes (checkpoint)");
  EXPECT_EQ(planned(view, {"", "", kBnb}), "bitsandbytes (checkpoint)");
  EXPECT_THAT(refused(view, {"", "", {{"load_in_8bit", true}}}),
              AllOf(HasSubstr("load_in_8bit"), HasSubstr("got true, the checkpoint has false")));
  EXPECT_THAT(refused(view, {"", "", {{"group_size", 128}}}), HasSubstr("the checkpoint has none"));
  for (const char* method : {"gptq", "gguf", "foo"}) {
    EXPECT_THAT(refused(view, {method, "", nullptr}), AllOf(HasSubstr(method), HasSubstr("'bitsandbytes'")));
  }
  EXPECT_THAT(refused(view, {"", "gguf", nullptr}), HasSubstr("got a bitsandbytes checkpoint"));
}

// As they stand in a folder whose weights were made plain again.
TEST(PlanQuantization, SettingsOfWeightsThatArePlain) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  writer.add("a.weight", "F32", {2, 3}, std::vector<float>(6));
  const CheckpointView view = writer.open(dir, kBnb);
  EXPECT_EQ(planned(view, {}), "bitsandbytes (checkpoint)");
  EXPECT_EQ(planned(view, {"bitsandbytes", "bitsandbytes", nullptr}),
            "bitsandbytes (in flight: nf4, block 64, nested absmax)");
  EXPECT_THAT(refused(view, {"gptq", "", nullptr}), HasSubstr("does not match the checkpoint"));
}

TEST(PlanQuantization, SettingsOfAMethodInFlight) {
  const CheckpointView view = directory({{"quant_method", "rtn"}, {"weight_bits", 4}});
  EXPECT_EQ(planned(view, {}), "rtn (in flight: 4 bits, group_size 128)");
  EXPECT_EQ(planned(view, {"rtn", "", nullptr}), "rtn (in flight: 4 bits, group_size 128)");
  EXPECT_THAT(refused(view, {"rtn", "", {{"weight_bits", 8}}}), HasSubstr("the checkpoint has 4"));
  EXPECT_THAT(refused(directory({{"quant_method", "rtn"}, {"weight_bits", 5}}), {}, ErrorKind::model),
              HasSubstr("expected 4 or 8"));
  // BitBLAS's own settings name GPTQ.
  EXPECT_THAT(planned(directory(), {"bitblas", "", {{"quant_method", "gptq"}, {"bits", 2}}}), HasSubstr("int2"));
}

TEST(PlanQuantization, NamesThatBelongToSeveralDialects) {
  const CheckpointView bitblas = directory({{"quant_method", "gptq"}, {"checkpoint_format", "bitblas"}, {"bits", 4}});
  for (const char* method : {"", "bitblas", "gptq_bitblas", "gptq", "BitBLAS"})
    EXPECT_EQ(planned(bitblas, {method, "", nullptr}), "bitblas (checkpoint)") << method;
  EXPECT_EQ(planned(bitblas, {"", "", {{"quant_method", "bitblas"}, {"bits", 4}}}), "bitblas (checkpoint)");
  EXPECT_EQ(refused(bitblas, {"hqq", "", nullptr}),
            "quantization 'hqq' does not match the checkpoint, which is quantized with 'bitblas'");
  for (const char* method : {"aqlm", "squeezellm", "qqq", "fp_quant"}) {
    EXPECT_EQ(refused(bitblas, {method, "", nullptr}),
              fmt::format("quantization '{}' is not supported yet (the checkpoint is quantized with 'bitblas'); "
                          "supported: {}",
                          method, supported()));
  }
  const CheckpointView gptq = directory({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"sym", false}});
  for (const char* method : {"", "gptq", "bitblas", "gptq_bitblas"})
    EXPECT_EQ(planned(gptq, {method, "", nullptr}), "gptq (checkpoint)") << method;
  EXPECT_EQ(refused(gptq, {"torchao", "", nullptr}),
            "quantization 'torchao' does not match the checkpoint, which is quantized with 'gptq'");
}

TEST(PlanQuantization, NamesOfOtherReadersAndSpellings) {
  for (const char* own : {"fp8", "compressed-tensors", "modelopt"})
    EXPECT_EQ(planned(directory({{"quant_method", own}}), {"humming", "", nullptr}),
              fmt::format("{} (checkpoint)", own));
  const CheckpointView view = directory({{"quant_method", "compressed-tensors"}});
  EXPECT_EQ(planned(view, {"compressed_tensors", "", nullptr}), "compressed-tensors (checkpoint)");
}

TEST(PlanQuantization, Gguf) {
  const CheckpointView floats = gguf(0), blocks = gguf(2);
  EXPECT_EQ(planned(floats, {}), "none");
  EXPECT_EQ(planned(floats, {"gguf", "gguf", nullptr}), "none");
  EXPECT_THAT(planned(floats, {"bitsandbytes", "gguf", nullptr}), HasSubstr("in flight"));
  EXPECT_THAT(planned(floats, {"bitsandbytes", "bitsandbytes", nullptr}), HasSubstr("in flight"));
  EXPECT_THAT(refused(floats, {"", "safetensors", nullptr}), HasSubstr("is a GGUF file"));
  EXPECT_EQ(planned(blocks, {}), "gguf (checkpoint)");
  EXPECT_EQ(planned(blocks, {"gguf", "gguf", nullptr}), "gguf (checkpoint)");
  EXPECT_THAT(refused(blocks, {"bitsandbytes", "", nullptr}), AllOf(HasSubstr("'bitsandbytes'"), HasSubstr("'gguf'")));
  EXPECT_THAT(refused(blocks, {"", "bitsandbytes", nullptr}), HasSubstr("got a gguf checkpoint"));
  EXPECT_THAT(refused(blocks, {"", "", {{"load_in_4bit", true}}}), HasSubstr("load_in_4bit"));
}

TEST(PlanQuantization, fault_050_unknown_quant_method) {
  EXPECT_EQ(planned(directory(kBnb), {}), "bitsandbytes (checkpoint)");
  Json changed = kBnb;
  changed["quant_method"] = "squeezellm";
  EXPECT_THAT(refused(directory(changed), {}, ErrorKind::model),
              HasSubstr("quant_method: \"squeezellm\" is not supported yet; supported: " + supported()));
  EXPECT_THAT(refused(directory(changed), {"squeezellm", "", nullptr}, ErrorKind::model), HasSubstr("\"squeezellm\""));
  changed["quant_method"] = "zip\x1b";
  EXPECT_THAT(refused(directory(changed), {}, ErrorKind::model), HasSubstr("quant_method: \"zip\\x1b\" is unknown"));
  changed["quant_method"] = 17;  // refused when the folder is opened
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(directory(changed), {}); }), HasSubstr("17"));
  changed["quant_method"] = "";
  EXPECT_EQ(planned(directory(changed), {}), "none");
}

}  // namespace
}  // namespace packhorse
