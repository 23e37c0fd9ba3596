// packhorse run: one answer, or a chat in the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>

#include "app/cli/chat.h"
#include "app/cli/cli.h"
#include "app/cli/conversation.h"
#include "app/cli/flags.h"
#include "app/cli/load.h"
#include "app/cli/message_source.h"
#include "app/cli/sampling_flags.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

struct Run {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string prompt, system;
  bool raw = false, stats = false, no_history = false;

  void execute();
  void answer_once(Conversation& conversation) const;
  void chat(Conversation& conversation, PipedMessages* piped) const;
};

void Run::answer_once(Conversation& conversation) const {
  const RequestOutput output = sampling.n.value_or(1) > 1 ? conversation.ask_for_all(prompt) : conversation.ask(prompt);
  if (stats || (is_terminal(STDERR_FILENO) && is_terminal(STDOUT_FILENO))) write_note(describe_speed(output));
}

void Run::chat(Conversation& conversation, PipedMessages* piped) const {
  Chat chat(conversation, stats);
  if (piped) return chat.run([piped] { return piped->next(); });
  TypedMessages typed(no_history ? "" : ChatHistory::default_path());
  write_note(fmt::format("{}; /help lists the commands, Ctrl-D leaves", printable(engine.model)));
  chat.run_interactively([&typed] { return typed.next(); });
}

void Run::execute() {
  sampling.over(SamplingParams{});  // a bad value is told before a long load, as is an empty input
  if (prompt == "-") {
    prompt = read_stdin();
    while (prompt.ends_with('\n') || prompt.ends_with('\r')) prompt.pop_back();
    if (prompt.empty()) throw Error(ErrorKind::usage, "--prompt -: standard input is empty");
  }
  if (prompt.empty() && sampling.n.value_or(1) > 1) {
    throw Error(ErrorKind::usage,
                fmt::format("--n: a chat has one answer to a message (got {}, limit 1)", *sampling.n));
  }
  std::optional<PipedMessages> piped;
  if (prompt.empty() && !(is_terminal(STDIN_FILENO) && is_terminal(STDERR_FILENO))) piped.emplace();
  const auto start = std::chrono::steady_clock::now();
  Engine model = load_engine(engine);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (stats) write_note(fmt::format("loaded in {:.2f} s", seconds.count()));
  Conversation conversation(model, sampling.over(model.default_sampling_params()), raw, system);
  if (prompt.empty())
    chat(conversation, piped ? &*piped : nullptr);
  else
    answer_once(conversation);
}

}  // namespace

Command add_run_command(CLI::App& program) {
  const auto run = std::make_shared<Run>();
  CLI::App* command = program.add_subcommand("run", "Answer a prompt, or chat in the terminal");
  command->allow_extras();
  run->engine.model = "demo";
  run->engine.max_num_batched_tokens = 512;  // Ctrl-C takes effect between two steps
  command
      ->add_option("MODEL", run->engine.model,
                   wrap_help("model folder, .gguf file, repo id in the hub cache, or demo [default: demo]"))
      ->type_name("");
  const auto text_flag = [&](const std::string& names, const char* label, const char* help, std::string& member) {
    add_value(*command, names, "TEXT", help,
              [&member, label](const std::string& text) { app::set_from_text({}, label, text, member); });
  };
  text_flag("-p,--prompt", "--prompt",
            "one prompt to answer, - for all of standard input [default: a chat, in the terminal or line by line from "
            "a pipe]",
            run->prompt);
  text_flag("--system", "--system", "system message of the chat [default: the template's own]", run->system);
  command->add_flag("--raw", run->raw, "continue the prompt itself, without the chat template");
  command->add_flag("--stats", run->stats, "times and speed on standard error");
  command->add_flag("--no-history", run->no_history, "do not keep what is typed for the next chat");
  run->sampling.add_to(*command);
  add_engine_flags(*command, run->engine);
  return {command, [run, command] {
            finish_engine_flags(*command, run->engine);
            run->execute();
          }};
}

}  // namespace packhorse::cli
