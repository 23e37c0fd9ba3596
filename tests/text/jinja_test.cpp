// The template language against Jinja2 itself, and what the cases of that comparison cannot show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "packhorse/packhorse.h"
#include "testing.h"
#include "text/chat_template.h"

namespace packhorse {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string render(const std::string& source, const OrderedJson& variables = OrderedJson::object()) {
  return ChatTemplate(source).render(variables);
}

std::string error_of(const std::string& source, ErrorKind kind) {
  try {
    const std::string text = render(source);
    ADD_FAILURE() << source << " gave " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << source << ": " << error.what();
    return error.what();
  }
  return {};
}

TEST(Jinja, SameAsJinja2) {
  const OrderedJson file = parse_chat_json(testing::read_text(testing::golden_dir() / "jinja_cases.json"), "cases");
  const OrderedJson& variables = file["variables"];
  ASSERT_GT(file["cases"].size(), 300u);
  for (const OrderedJson& one : file["cases"]) {
    const auto source = one["template"].get<std::string>();
    SCOPED_TRACE(source);
    if (one.contains("error")) {
      EXPECT_THROW(render(source, variables), Error);
      continue;
    }
    try {
      EXPECT_EQ(render(source, variables), one["rendered"].get<std::string>());
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(Jinja, SyntaxErrorsSayWhere) {
  EXPECT_EQ(error_of("ab\n  {% if x %}\n{{ 1 +* }}{% endif %}", ErrorKind::model),
            "chat template: line 3, column 7: expected an expression, got '*'");
  EXPECT_EQ(error_of("é{{ x|nope }}", ErrorKind::model), "chat template: line 1, column 7: unknown filter 'nope'");
  EXPECT_EQ(error_of("{{ x is nope }}", ErrorKind::model), "chat template: line 1, column 9: unknown test 'nope'");
  EXPECT_EQ(error_of("\r\n\r\n{% nope %}", ErrorKind::model), "chat template: line 3, column 4: unknown tag 'nope'");
  EXPECT_THAT(error_of("{% for x in y %}", ErrorKind::model), HasSubstr("expected 'endfor', got end of template"));
  EXPECT_THAT(error_of("{{ 'a", ErrorKind::model), HasSubstr("line 1, column 4: string is not closed"));
  EXPECT_THAT(error_of("{# a", ErrorKind::model), HasSubstr("comment is not closed"));
  EXPECT_THAT(error_of("{{ (1] }}", ErrorKind::model), HasSubstr("unexpected ']', expected ')'"));
  EXPECT_THAT(error_of("{{ 99999999999999999999 }}", ErrorKind::model), HasSubstr("out of range"));
  EXPECT_THAT(error_of("{{ a ? b }}", ErrorKind::model), HasSubstr("unexpected character '?'"));
  EXPECT_THAT(error_of("a\xff", ErrorKind::model), HasSubstr("invalid UTF-8 at byte 1"));
}

TEST(Jinja, UnknownFilterOfABranchNotTakenIsNoError) {
  EXPECT_EQ(render("{% if false %}{{ x|nope }}{{ x is nope }}{% endif %}ok"), "ok");
  EXPECT_EQ(error_of("{% if true %}{{ x|nope }}{% endif %}", ErrorKind::request),
            "chat template: line 1, column 19: unknown filter 'nope'");
}

TEST(Jinja, RuntimeErrorsSayWhere) {
  EXPECT_EQ(error_of("a\n{{ x.y }}", ErrorKind::request), "chat template: line 2, column 5: 'x' is undefined");
  EXPECT_EQ(error_of("{{ {'a': 1}.b.c }}", ErrorKind::request),
            "chat template: line 1, column 14: 'dict object' has no attribute 'b'");
  EXPECT_EQ(error_of("{{ 'a' + 1 }}", ErrorKind::request),
            "chat template: line 1, column 8: can only concatenate str (not \"int\") to str");
  EXPECT_EQ(error_of("{{ raise_exception('two\nlines') }}", ErrorKind::request), "chat template: two lines");
}

TEST(Jinja, MutableContainers) {
  EXPECT_EQ(
      render("{% set l = [1] %}{% do l.append(2) %}{% set _ = l.extend([3, 4]) %}{{ l }}{{ l.pop() }}{{ l.pop(0) }}"
             "{% do l.insert(-1, 9) %}{{ l }}"),
      "[1, 2, 3, 4]41[2, 9, 3]");
  EXPECT_EQ(render("{% set d = {'a': 1} %}{% do d.update({'b': 2}, c=3) %}{{ d.pop('a') }}{{ d }}{{ d.pop('x', 5) }}"),
            "1{'b': 2, 'c': 3}5");
  EXPECT_EQ(
      render("{% set l = [1] %}{% for x in l %}{{ x }}{% if x < 3 %}{% do l.append(x + 1) %}{% endif %}{% endfor %}"),
      "123");
}

TEST(Jinja, ScopesThatOutliveTheirBlock) {
  EXPECT_EQ(
      render(
          "{% set ns = namespace() %}{% for i in [1, 2] %}{% with k = i * 10 %}{% macro m() %}<{{ k }}>{% endmacro %}"
          "{% set ns.m = m %}{% endwith %}{% endfor %}{% for i in [7, 8] %}{% set k = 5 %}{{ ns.m() }}{% endfor %}"),
      "<20><20>");
  EXPECT_EQ(
      render("{% set ns = namespace() %}{% with b = 4 %}{% for x in [3] recursive %}{% set ns.l = loop %}{{ x + b }}"
             "{% endfor %}{% endwith %}{% for y in [0] %}{% set b = 1 %}{{ ns.l([1, 2]) }}{% endfor %}"),
      "756");
}

TEST(Jinja, ValuesThatHoldThemselves) {
  EXPECT_EQ(render("{% set ns = namespace(n=3) %}{% set ns.self = ns %}{{ ns.self.self.self.n }}"), "3");
  EXPECT_EQ(render("{% set l = [1] %}{% do l.append(l) %}{{ l[1][1][0] }}{{ l == l }}"), "1True");
}

TEST(Jinja, DictsOfEverySize) {
  EXPECT_EQ(
      render(
          "{% set d = {} %}{% for i in range(100) %}{% do d.update({i: i * i}) %}{% endfor %}{{ d[99] }} {{ d[7.0] }}"
          " {{ d['7'] }}{% for i in range(99) %}{% do d.pop(i) %}{% endfor %}{{ d }}"),
      "9801 49 {99: 9801}");
}

TEST(Jinja, ContinueLeavesBlocksThatCapture) {
  EXPECT_EQ(
      render(
          "{% for i in [1, 2] %}a{% set x %}{% if i == 1 %}{% continue %}{% endif %}b{% endset %}{{ x }}c{% endfor %}"),
      "aabc");
  EXPECT_EQ(render("{% for i in [1, 2] %}a{% filter upper %}x{% break %}{% endfilter %}c{% endfor %}d"), "ad");
}

TEST(Jinja, MarkupEscapesWhatIsAddedToIt) {
  EXPECT_EQ(render("{{ '<b>'|safe + '<i>' }} {{ '<i>' + '<b>'|safe }} {{ '<b>'|safe ~ '<i>' }} {{ '<'|e|e }} {{ "
                   "'<'|e|forceescape }}"),
            "<b>&lt;i&gt; &lt;i&gt;<b> <b><i> &lt; &amp;lt;");
}

TEST(Jinja, LargeNumbers) {
  const OrderedJson variables =
      parse_chat_json(R"({"i": 9223372036854775807, "u": 18446744073709551615, "f": 1e308})", "v");
  EXPECT_EQ(render("{{ i }} {{ -i - 1 }} {{ (-i - 1) % -1 }} {{ u }} {{ f }} {{ f * 10 }}", variables),
            "9223372036854775807 -9223372036854775808 0 1.8446744073709552e+19 1e+308 inf");
  for (const char* source : {"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 2 ** 63 }}",
                             "{{ 4611686018427387904 * 2 }}", "{{ (-9223372036854775807 - 1) // -1 }}",
                             "{{ -(-9223372036854775807 - 1) }}", "{{ (-9223372036854775807 - 1)|abs }}"}) {
    EXPECT_THAT(error_of(source, ErrorKind::request), HasSubstr("out of range")) << source;
  }
  EXPECT_EQ(render("{{ 'abc'[9223372036854775807:-9223372036854775807-1:-1] }}{{ 'abc'[::-9223372036854775807-1] }}"),
            "cbac");
  EXPECT_EQ(render("{{ range(-9223372036854775807-1, 9223372036854775807, 9223372036854775807)|length }}"), "3");
}

TEST(Jinja, StrftimeNow) {
  EXPECT_THAT(render("{{ strftime_now('%d %b %Y') }}"), MatchesRegex("[0-9][0-9] [A-Z][a-z][a-z] 20[0-9][0-9]"));
  EXPECT_THAT(error_of("{{ strftime_now('%Y' * 5000) }}", ErrorKind::request), HasSubstr("cannot format"));
}

TEST(Jinja, ErrorsShowControlBytesEscaped) {
  EXPECT_THAT(error_of("{{ '{:*^\n}'.format('ab') }}", ErrorKind::request), HasSubstr("'\\x0a'"));
  EXPECT_THAT(error_of("{{ '%\n' % 1 }}", ErrorKind::request), HasSubstr("'\\x0a'"));
}

TEST(Jinja, OneTemplateInSeveralThreads) {
  const ChatTemplate shared("{% for i in range(200) %}{{ 'literal' ~ i }}{% endfor %}");
  const OrderedJson none = OrderedJson::object();
  const std::string expected = shared.render(none);
  std::vector<std::string> rendered(4);
  std::vector<std::thread> threads;
  for (std::string& text : rendered) threads.emplace_back([&] { text = shared.render(none); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : rendered) EXPECT_EQ(text, expected);
}

}  // namespace
}  // namespace packhorse
