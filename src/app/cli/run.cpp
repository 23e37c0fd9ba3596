// packhorse run: one answer, or a chat in the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "app/cli/cli.h"
#include "app/cli/conversation.h"
#include "app/cli/flags.h"
#include "app/cli/load.h"
#include "app/cli/sampling_flags.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

struct Run {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string prompt, system;
  bool raw = false, stats = false;

  void execute();
  void chat(Conversation& conversation) const;
  void answer(Conversation& conversation, const std::string& text) const;
};

void show_dim(const std::string& text) {
  write_stderr(wants_color(STDERR_FILENO) ? fmt::format("\x1b[2m{}\x1b[0m\n", text) : text + "\n");
}

void Run::answer(Conversation& conversation, const std::string& text) const {
  const RequestOutput output = conversation.ask(text);
  if (stats || (is_terminal(STDERR_FILENO) && is_terminal(STDOUT_FILENO))) show_dim(describe_speed(output));
}

void Run::chat(Conversation& conversation) const {
  write_stderr("Type a message; Ctrl-D ends.\n");
  std::string line;
  while (write_stderr("> "), std::getline(std::cin, line)) {
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    try {
      answer(conversation, line);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::request) throw;
      write_stderr(fmt::format("error: {}\n", e.what()));  // the chat goes on without this message
    }
  }
  write_stderr("\n");
}

void Run::execute() {
  sampling.over(SamplingParams{});  // a bad value is told before a long load
  const bool interactive = prompt.empty() && is_terminal(STDIN_FILENO);
  if (prompt.empty() && !interactive) {
    prompt = read_stdin();
    while (prompt.ends_with('\n') || prompt.ends_with('\r')) prompt.pop_back();
    if (prompt.empty()) throw Error(ErrorKind::usage, "no prompt: standard input is empty (-p PROMPT gives one)");
  }
  const auto start = std::chrono::steady_clock::now();
  Engine model = load_engine(engine);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (stats) show_dim(fmt::format("loaded in {:.2f} s", seconds.count()));
  Conversation conversation(model, sampling.over(model.default_sampling_params()), raw, system);
  if (interactive)
    chat(conversation);
  else
    answer(conversation, prompt);
}

}  // namespace

Command add_run_command(CLI::App& program) {
  const auto run = std::make_shared<Run>();
  CLI::App* command = program.add_subcommand("run", "Answer a prompt, or chat in the terminal");
  command->allow_extras();
  run->engine.model = "demo";
  command
      ->add_option("MODEL", run->engine.model,
                   wrap_help("model folder, .gguf file, repo id in the hub cache, or demo [default: demo]"))
      ->type_name("");
  const auto text_flag = [&](const std::string& names, const char* label, const char* help, std::string& member) {
    add_value(*command, names, "TEXT", help,
              [&member, label](const std::string& text) { app::set_from_text({}, label, text, member); });
  };
  text_flag("-p,--prompt", "--prompt", "the prompt [default: standard input; a chat when that is a terminal]",
            run->prompt);
  text_flag("--system", "--system", "system message of the chat [default: the template's own]", run->system);
  command->add_flag("--raw", run->raw, "continue the prompt itself, without the chat template");
  command->add_flag("--stats", run->stats, "times and speed on standard error, as on a terminal");
  run->sampling.add_to(*command);
  add_engine_flags(*command, run->engine);
  return {command, [run, command] {
            finish_engine_flags(*command, run->engine);
            run->execute();
          }};
}

}  // namespace packhorse::cli
