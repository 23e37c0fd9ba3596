#include "app/cli/chat_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "app/cli/nearest.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Messages that the lines come to, literal ones in brackets.
std::vector<std::string> messages_of(std::initializer_list<const char*> lines) {
  MessageLines assembled;
  std::vector<std::string> texts;
  const auto add = [&](const std::optional<Message>& message) {
    if (message) texts.push_back(message->literal ? "[" + message->text + "]" : message->text);
  };
  for (const char* line : lines) add(assembled.add(line));
  add(assembled.finish());
  return texts;
}
using Texts = std::vector<std::string>;

TEST(MessageLines, a_line_is_a_message) { EXPECT_EQ(messages_of({"one", "", " two \r"}), (Texts{"one", "", " two "})); }

TEST(MessageLines, a_backslash_goes_on) {
  EXPECT_EQ(messages_of({"a\\", "\\", "b", "c"}), (Texts{"a\n\nb", "c"}));
  EXPECT_EQ(messages_of({"a\\", "\"\"\"", "b"}), (Texts{"a\n\"\"\"", "b"}));
  EXPECT_EQ(messages_of({"a\\ ", "b"}), (Texts{"a\\ ", "b"}));
  EXPECT_EQ(messages_of({"a\\"}), (Texts{"a"}));  // the input ended
}

TEST(MessageLines, quotes_hold_many_lines) {
  EXPECT_EQ(messages_of({"\"\"\"", "a\\", "", " b", "\"\"\"", "c"}), (Texts{"[a\\\n\n b]", "c"}));
  EXPECT_EQ(messages_of({" \"\"\"a", "b\"\"\" "}), (Texts{"[a\nb]"}));
  EXPECT_EQ(messages_of({"\"\"\"/exit\"\"\"", "d"}), (Texts{"[/exit]", "d"}));
  EXPECT_EQ(messages_of({"\"\"\"\"\"\"", "d"}), (Texts{"[]", "d"}));
  EXPECT_EQ(messages_of({"say \"\"\"", "d"}), (Texts{"say \"\"\"", "d"}));
}

TEST(MessageLines, a_paste_is_one_message) {
  EXPECT_EQ(messages_of({"a\nb\nc", "d"}), (Texts{"a\nb\nc", "d"}));
  EXPECT_EQ(messages_of({"a\nb\n"}), (Texts{"a\nb"}));
  EXPECT_EQ(messages_of({"\"\"\"\na\nb\n\"\"\""}), (Texts{"[a\nb]"}));
}

TEST(MessageLines, open_quotes_at_the_end) {
  MessageLines lines;
  EXPECT_FALSE(lines.is_partial());
  EXPECT_FALSE(lines.add("\"\"\"a"));
  EXPECT_TRUE(lines.is_partial());
  EXPECT_THROW(lines.finish(), Error);
  lines.clear();
  EXPECT_FALSE(lines.finish());
}

TEST(MessageLines, what_is_typed_again_is_the_same_message) {
  for (const Message& message : {Message{"a\nb", false}, Message{"/exit\n\nb", true}, Message{"", true}}) {
    const std::optional<Message> again = MessageLines().add(retyped(message));
    ASSERT_TRUE(again) << message.text;
    EXPECT_EQ(again->text, message.text);
    EXPECT_EQ(again->literal, message.literal);
  }
}

std::string error_of(const std::string& text) {
  try {
    parse_command({text, false});
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "";
}

TEST(ChatCommand, names_and_arguments) {
  EXPECT_FALSE(parse_command({"hello", false}));
  EXPECT_FALSE(parse_command({" /exit", false}));
  EXPECT_FALSE(parse_command({"/exit", true}));
  EXPECT_EQ(parse_command({"/exit ", false})->name, CommandName::exit);
  EXPECT_EQ(parse_command({"/clear", false})->name, CommandName::clear);
  EXPECT_EQ(parse_command({"/help", false})->name, CommandName::help);
  const ChatCommand system = *parse_command({"/system  Speak\nslowly. ", false});
  EXPECT_EQ(system.name, CommandName::system);
  EXPECT_EQ(system.argument, "Speak\nslowly.");
  EXPECT_EQ(parse_command({"/stats", false})->argument, "");
  EXPECT_EQ(parse_command({"/stats off", false})->argument, "off");
}

TEST(ChatCommand, unknown_ones_name_the_nearest) {
  EXPECT_THAT(error_of("/claer"), AllOf(HasSubstr("'/claer'"), HasSubstr("did you mean /clear?")));
  EXPECT_THAT(error_of("/sys x"), AllOf(HasSubstr("'/sys'"), HasSubstr("did you mean /system?")));
  EXPECT_THAT(error_of("/usr/share/dict/words"), AllOf(HasSubstr("/help lists them"), HasSubstr("space")));
  EXPECT_THAT(error_of("/a\x1b[31m"), HasSubstr("\\x1b"));
  EXPECT_THAT(error_of("/stats maybe"), AllOf(HasSubstr("on or off"), HasSubstr("'maybe'")));
  EXPECT_THAT(error_of("/clear all"), AllOf(HasSubstr("/clear"), HasSubstr("no argument"), HasSubstr("'all'")));
}

TEST(NearestWord, by_beginning_or_few_edits) {
  const std::vector<std::string> words = {"--max-tokens", "--seed", "--stop"};
  EXPECT_EQ(nearest_word("--max", words), "--max-tokens");
  EXPECT_EQ(nearest_word("--step", words), "--stop");
  EXPECT_EQ(nearest_word("--quantization", words), "");
}

}  // namespace
}  // namespace packhorse::cli
