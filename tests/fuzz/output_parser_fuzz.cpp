// A tool parser's name, a reasoning parser's name, the tools of the request, the answer of a model; read in one go and
// byte by byte.

#include "app/server/output_parser.h"
#include "fuzz.h"

using namespace packhorse;
using namespace packhorse::server;

namespace {

struct Answer {
  std::string reasoning, content;
  std::vector<ToolCallDelta> calls;

  void receive(const OutputDelta& delta) {
    reasoning += delta.reasoning;
    content += delta.content;
    for (const auto& news : delta.tool_calls) {
      const bool is_new = static_cast<size_t>(news.index) == calls.size();
      fuzz::check(is_new != news.name.empty() && is_new != news.id.empty(), "a call without a name, or with two");
      fuzz::check(is_new || news.index + 1 == static_cast<int>(calls.size()), "news of another call than the last");
      if (is_new) calls.push_back({news.index, "", news.name, ""});
      calls.back().arguments += news.arguments;
    }
  }
};

Answer read(const OutputParserOptions& options, std::string_view text, size_t n_bytes) {
  const auto parser = make_output_parser(options);
  Answer answer;
  for (size_t at = 0; at < text.size(); at += n_bytes) answer.receive(parser->add(text.substr(at, n_bytes)));
  answer.receive(parser->finish());
  return answer;
}

void check_same(const Answer& a, const Answer& b) {
  fuzz::check(a.reasoning == b.reasoning && a.content == b.content && a.calls.size() == b.calls.size(), "cuts matter");
  for (size_t i = 0; i < a.calls.size(); ++i) {
    fuzz::check(a.calls[i].name == b.calls[i].name && a.calls[i].arguments == b.calls[i].arguments, "cuts matter");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::split_parts(fuzz::text_of(data, size), 4);
  OutputParserOptions options{.tool_parser = std::string(parts[0]), .reasoning_parser = std::string(parts[1])};
  options.tool_name = "f";
  options.tools_json = parts[2];
  fuzz::expect_error_only([&] {
    for (const auto mode : {ToolMode::parsed, ToolMode::required, ToolMode::named}) {
      options.tools = mode;
      options.reasoning_open = mode == ToolMode::named;
      options.is_constrained = mode == ToolMode::required;
      check_same(read(options, parts[3], parts[3].size() + 1), read(options, parts[3], 1));
    }
    tool_parser_of_template(parts[3]);
    reasoning_parser_of_template(parts[3]);
  });
  return 0;
}
