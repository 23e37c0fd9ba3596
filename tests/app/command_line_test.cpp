// Rows 122 to 124 of the fault catalogue, and the contract of errors: the program in this process, on a tiny model.
#include <gmock/gmock.h>

#include "app/cli/cli.h"
#include "app/engine_flags.h"
#include "app/tiny_llama.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Result {
  int status = 0;
  std::string out, err;
};

Result run_program(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"packhorse"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Result result;
  result.status = cli::run_program(static_cast<int>(argv.size()), argv.data());
  result.out = ::testing::internal::GetCapturedStdout();
  result.err = ::testing::internal::GetCapturedStderr();
  return result;
}

/// The line without "error: "; there must be no other, nothing on standard output, nothing that controls a terminal.
std::string error_line(const std::vector<std::string>& arguments, int status) {
  const Result result = run_program(arguments);
  EXPECT_EQ(result.status, status) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("error: ")) << result.err;
  EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
  return result.err.substr(result.err.find(' ') + 1, result.err.size() - 8);
}

/// Every test starts from a command that works.
class CommandLine : public testing::TinyLlamaTest {
 protected:
  void SetUp() override {
    path_ = write(gguf_);
    const Result good = run_program({"inspect", path_, "--max-model-len", "64"});
    EXPECT_EQ(good.status, 0) << good.err;
    EXPECT_THAT(good.out, HasSubstr("architecture: llama"));
    EXPECT_EQ(good.err, "");
  }
  std::string usage(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"inspect", path_});
    return error_line(arguments, 2);
  }
  std::string path_;
};

/// Calls f(flag, is_switch, is_number) for each option of the engine.
template <class F>
void for_each_flag(F&& f) {
  EngineOptions options;
  app::visit_flags(options, [&](const app::Flag& flag, auto& member) {
    using Member = std::remove_reference_t<decltype(member)>;
    f(flag, std::is_same_v<Member, bool>, std::is_arithmetic_v<Member>);
  });
}

TEST_F(CommandLine, fault_122_every_flag_needs_a_value) {
  for_each_flag([&](const app::Flag& flag, bool is_switch, bool is_number) {
    const std::string name = flag.long_name();
    if (is_switch) return;
    EXPECT_EQ(usage({name}), name + ": needs a value");
    const std::string empty = usage({name, ""});
    EXPECT_THAT(empty, AllOf(::testing::StartsWith(name + ": "), HasSubstr(is_number ? "(got '', " : "empty text")));
    EXPECT_EQ(usage({name + "="}), name + ": needs a value");
  });
}

TEST_F(CommandLine, fault_122_every_number_has_a_range) {
  for_each_flag([&](const app::Flag& flag, bool is_switch, bool is_number) {
    if (is_switch || !is_number) return;
    const std::string name = flag.long_name(), range = fmt::format("allowed {} to {})", flag.min, flag.max);
    for (const std::string value : {"x", "1e400", "--", "0x10", "nan"}) {
      const std::string message = usage({name + "=" + value});
      EXPECT_THAT(message, AllOf(::testing::StartsWith(name + ": "), HasSubstr("got "), HasSubstr(range))) << value;
    }
    const std::string below = fmt::format("{:.0f}", flag.min - 1), above = fmt::format("{:.0f}", flag.max * 4);
    EXPECT_EQ(usage({name + "=" + below}), fmt::format("{}: out of range (got {}, {}", name, below, range));
    EXPECT_THAT(usage({name + "=" + above}), AllOf(HasSubstr(name + ": out of range (got "), HasSubstr(range)));
  });
}

TEST_F(CommandLine, fault_122_every_flag_stands_once) {
  for_each_flag([&](const app::Flag& flag, bool is_switch, bool is_number) {
    const std::string name = flag.long_name(), value = is_number ? "1" : "cpu";
    const std::string message = is_switch ? usage({name, name}) : usage({name, value, name, value});
    EXPECT_EQ(message, name + ": given more than once");
    if (!is_switch) return;
    EXPECT_EQ(usage({name, "--no-" + std::string(flag.name)}), name + ": given more than once");
  });
}

TEST_F(CommandLine, fault_122_the_nearest_flag_is_suggested) {
  for_each_flag([&](const app::Flag& flag, bool, bool) {
    std::string wrong = flag.long_name();
    wrong.back() = 'x';
    EXPECT_EQ(usage({wrong, "5"}), fmt::format("unknown option '{}' (did you mean '{}'?)", wrong, flag.long_name()));
  });
  EXPECT_EQ(usage({"--quantisation=nf4"}), "unknown option '--quantisation=nf4' (did you mean '--quantization'?)");
  EXPECT_EQ(usage({"--nothing-like-it"}), "unknown option '--nothing-like-it' (see --help)");
  EXPECT_EQ(usage({"-x"}), "unknown option '-x' (see --help)");
  EXPECT_THAT(usage({"--a\x1b[31m\n\xff"}), HasSubstr("unknown option '--a\\x1b[31m\\x0a\\xff'"));
  EXPECT_THAT(usage({"another"}), HasSubstr("unexpected argument 'another'"));
  EXPECT_EQ(error_line({"insepct", path_}, 2), "unknown command 'insepct' (did you mean 'inspect'?)");
  EXPECT_THAT(error_line({""}, 2), HasSubstr("unknown command ''"));
}

TEST_F(CommandLine, fault_122_lengths) {
  EXPECT_EQ(usage({"--max-model-len", "-2"}), "--max-model-len: out of range (got -2, allowed 1 to 134217728)");
  for (const char* own : {"auto", "-1"}) {
    EXPECT_THAT(run_program({"inspect", path_, "--max-model-len", own}).out, HasSubstr("128")) << own;
  }
  EXPECT_EQ(usage({"--max-model-len", "1e9"}),
            "--max-model-len: not a whole number (got '1e9', allowed 1 to 134217728)");
  EXPECT_EQ(usage({"--max-model-len", "129"}),
            "max_model_len: 129 is greater than the model's own limit of 128 (m.gguf: key 'llama.context_length')");
  EXPECT_EQ(error_line({"inspect", ""}, 2), "model: needs a value (got an empty text)");
}

TEST_F(CommandLine, fault_123_what_was_looked_for) {
  const fs::path none = gguf_dir_.path() / "none";
  EXPECT_THAT(error_line({"inspect", none}, 3), HasSubstr(none.string() + ": no such file or folder"));
  fs::create_directory(none);
  EXPECT_THAT(error_line({"inspect", none}, 3), HasSubstr("looked for config.json, model.safetensors.index.json"));
  fs::copy(path_, gguf_dir_.path() / "second.gguf");
  EXPECT_THAT(
      error_line({"inspect", gguf_dir_.path()}, 3),
      HasSubstr("2 .gguf files that are not one complete split set; open one by its path (m.gguf, second.gguf)"));
}

TEST_F(CommandLine, fault_124_odd_file_names) {
  const std::string odd = "a\nb'\"\x1b[31m \xc2\x9b\xff.gguf", shown = "a\\x0ab\\x27\"\\x1b[31m \\xc2\\x9b\\xff.gguf";
  const std::string in_json = "a\\x0ab\\x27\"\\x1b[31m \\xc2\\x9b\ufffd.gguf",
                    long_name = std::string(250, 'n') + ".gguf";
  for (const auto& [name, expected] : {std::pair(odd, in_json), std::pair(long_name, long_name)}) {
    fs::copy(path_, gguf_dir_.path() / name);
    const Result good = run_program({"inspect", gguf_dir_.file(name)});
    EXPECT_EQ(good.status, 0) << good.err;
    EXPECT_THAT(good.out, HasSubstr("/" + expected + "\n"));
  }
  fs::resize_file(gguf_dir_.path() / odd, 100);
  EXPECT_THAT(error_line({"inspect", gguf_dir_.file(odd)}, 3), HasSubstr(shown + ": file ends at byte 100, in header"));
  fs::remove(gguf_dir_.path() / odd);
  EXPECT_THAT(error_line({"inspect", gguf_dir_.file(odd)}, 3), HasSubstr(shown + ": no such file or folder"));
  EXPECT_THAT(error_line({"inspect", std::string(4096, 'a')}, 5), HasSubstr("aaa...: cannot open: File name too long"));
}

TEST_F(CommandLine, fault_124_odd_names_in_a_folder) {
  const fs::path folder = write(folder_);
  const std::string odd = "a\nb'\x1b\xff.safetensors";
  fs::rename(folder / "model.safetensors", folder / odd);
  EXPECT_EQ(run_program({"inspect", folder}).status, 0);
  fs::resize_file(folder / odd, 100);
  EXPECT_THAT(error_line({"inspect", folder}, 3),
              ::testing::StartsWith("a\\x0ab\\x27\\x1b\\xff.safetensors: header length"));
}

TEST_F(CommandLine, fault_026_warnings_are_lines_on_standard_error) {
  testing::GgufFile file = gguf_;
  for (const char* name : {"extra.a", "extra.b"}) file.tensors.push_back(testing::gguf_tensor(name, {1}, {1}));
  write(file);
  const std::string tensor = "warning: m.gguf: tensor 'extra.{}': the model has no use of it";
  EXPECT_EQ(run_program({"inspect", path_}).err,
            "warning: m.gguf: tensor 'extra.a': the model has no use of it (and of 1 more, which --verbose lists)\n");
  EXPECT_EQ(run_program({"inspect", path_, "-v"}).err,
            "warning: m.gguf: tensor 'extra.a': the model has no use of it\n"
            "warning: m.gguf: tensor 'extra.b': the model has no use of it\n");
}

TEST_F(CommandLine, fault_062_run_ends_on_a_broken_template) {
  testing::TinyFolder model = testing::tiny_folder({.layers = 1, .vocab = 1024});
  const fs::path folder = write(model);
  fs::copy(testing::golden_dir() / "tokenizer/smollm2_cut/tokenizer.json", folder / "tokenizer.json");
  const auto arguments = [&](const char* source) {
    return std::vector<std::string>{"run", folder, "-p", "Hi", "--max-tokens", "1", "--chat-template", source};
  };
  EXPECT_EQ(run_program(arguments("{{ messages[0].content }}")).status, 0);
  EXPECT_THAT(error_line(arguments("{% if %}"), 3), ::testing::StartsWith("chat template: line 1, column "));
  EXPECT_THAT(error_line(arguments("{{ 'x' | nofilter }}"), 3), HasSubstr("nofilter"));
  EXPECT_THAT(error_line(arguments("{{ nothing.at.all }}"), 2),
              ::testing::StartsWith("chat template: line 1, column "));
}

}  // namespace
}  // namespace packhorse
