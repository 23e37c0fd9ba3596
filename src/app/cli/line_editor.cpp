#include "app/cli/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include "app/cli/terminal.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

constexpr int kMaxRemembered = 1000;
constexpr size_t kMaxPaste = size_t{8} << 20;  // characters
constexpr char kLiteral = '\1';                // encloses what takes no room in the prompt
constexpr const char* kPasteOn = "\x1b[?2004h";
constexpr const char* kPasteOff = "\x1b[?2004l";
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";

LineEditor& self_of(EditLine* editor) {
  void* self = nullptr;
  el_get(editor, EL_CLIENTDATA, &self);
  return *static_cast<LineEditor*>(self);
}

/// Keys that libedit leaves without a meaning.
constexpr const char* kKeys[][2] = {
    {"\\e[200~", "packhorse-paste"}, {"\\e[3~", "ed-delete-next-char"}, {"\\e[H", "ed-move-to-beg"},
    {"\\e[F", "ed-move-to-end"},     {"\\e[1~", "ed-move-to-beg"},      {"\\e[4~", "ed-move-to-end"},
    {"\\e[1;5C", "em-next-word"},    {"\\e[1;5D", "ed-prev-word"},      {"^W", "ed-delete-prev-word"},
    {"^R", "em-inc-search-prev"},
};

/// Without control characters, which could not be seen.
std::wstring cleaned(std::wstring_view pasted) {
  std::wstring text;
  for (const wchar_t c : pasted) {
    if (c == L'\r')
      text.push_back(L'\n');
    else if (c == L'\n' || c == L'\t' || (c >= 0x20 && (c < 0x7f || c >= 0xa0)))
      text.push_back(c);
  }
  return text;
}

bool is_dumb_terminal() {
  const char* term = std::getenv("TERM");
  return !term || !*term || std::strcmp(term, "dumb") == 0;
}

}  // namespace

LineEditor::LineEditor()
    : screen_(::fdopen(::dup(STDERR_FILENO), "w"), std::fclose),
      history_(history_init(), history_end),
      editor_(nullptr, el_end) {
  std::setlocale(LC_CTYPE, "C.UTF-8");  // libedit takes the encoding from there; text is UTF-8 everywhere here
  if (screen_) editor_.reset(el_init("packhorse", stdin, screen_.get(), screen_.get()));
  if (!editor_ || !history_) throw Error(ErrorKind::io, "the terminal cannot be used for a chat");
  EditLine* const editor = editor_.get();
  HistEvent event;
  history(history_.get(), &event, H_SETSIZE, kMaxRemembered);
  history(history_.get(), &event, H_SETUNIQUE, 1);
  el_set(editor, EL_CLIENTDATA, this);
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_HIST, history, history_.get());
  el_set(editor, EL_PROMPT_ESC, &LineEditor::show_prompt, kLiteral);
  el_set(editor, EL_GETCFN, &LineEditor::read_char);
  el_set(editor, EL_ADDFN, "packhorse-paste", "insert what the terminal pastes", &LineEditor::paste);
  for (const auto& [key, action] : kKeys) el_set(editor, EL_BIND, key, action, nullptr);
  // The terminal's own flush comes after its signal and would take what is written in between with it.
  el_set(editor, EL_SETTY, "-d", "+noflsh", nullptr);
  el_source(editor, nullptr);
}

LineEditor::~LineEditor() = default;

char* LineEditor::show_prompt(EditLine* editor) { return self_of(editor).prompt_.data(); }

LineEditor::Input LineEditor::read(std::string_view prompt) {
  // A bold mark before the space; libedit loses a literal at the very end.
  const std::string_view mark = prompt.substr(0, prompt.find(' '));
  prompt_ = wants_color(STDERR_FILENO) ? fmt::format("{0}\x1b[1m{0}{1}{0}\x1b[0m{0} ", kLiteral, mark) : prompt;
  SignalWatch watch({SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH});
  signals_ = &watch;
  interrupted_ = false;
  if (!is_dumb_terminal()) write_stderr(kPasteOn);
  el_set(editor_.get(), EL_PREP_TERM,
         1);  // el_gets would show the prompt first: who types at once would be echoed twice
  int n_bytes = 0;
  const char* line = el_gets(editor_.get(), &n_bytes);
  Input input{line ? Event::line : interrupted_ ? Event::interrupt : Event::end, line ? line : typed()};
  if (!is_dumb_terminal()) write_stderr(kPasteOff);
  if (!line) write_stderr(interrupted_ ? "^C\n" : "\n");
  signals_ = nullptr;
  if (input.text.ends_with('\n')) input.text.pop_back();
  return input;
}

std::string LineEditor::typed() const {
  const LineInfo* info = el_line(editor_.get());
  return {info->buffer, info->lastchar};
}

void LineEditor::remember(const std::string& text) {
  HistEvent event;
  history(history_.get(), &event, H_ENTER, text.c_str());
}

/// False when it ends the reading.
bool LineEditor::handle_signal() {
  const int signal = signals_->next();
  if (signal == SIGINT) {
    interrupted_ = true;
    ::tcflush(STDIN_FILENO, TCIFLUSH);
    return false;
  }
  if (signal == SIGWINCH) el_resize(editor_.get());
  if (signal == SIGTERM || signal == SIGHUP || signal == SIGTSTP) {  // these leave the terminal to others
    el_set(editor_.get(), EL_PREP_TERM, 0);
    if (!is_dumb_terminal()) write_stderr(kPasteOff);
    signals_->let_pass(signal);
    if (!is_dumb_terminal()) write_stderr(kPasteOn);
    el_set(editor_.get(), EL_PREP_TERM, 1);
    el_set(editor_.get(), EL_REFRESH);
  }
  return true;
}

/// Nothing at the end of the input and at an interrupt.
std::optional<char> LineEditor::next_byte() {
  for (;;) {
    pollfd sources[] = {{STDIN_FILENO, POLLIN, 0}, {signals_->descriptor(), POLLIN, 0}};
    if (::poll(sources, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return std::nullopt;
    }
    if (sources[1].revents != 0) {
      if (!handle_signal()) return std::nullopt;
      continue;
    }
    char byte = 0;
    const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
    if (n == 1) return byte;
    if (n == 0 || errno != EINTR) return std::nullopt;
  }
}

int LineEditor::read_char(EditLine* editor, wchar_t* out) {
  LineEditor& self = self_of(editor);
  std::mbstate_t state{};
  while (const std::optional<char> byte = self.next_byte()) {
    const size_t n = std::mbrtowc(out, &*byte, 1, &state);
    if (n == 0 || n == 1) return 1;
    if (n == static_cast<size_t>(-1)) state = {};  // no UTF-8: passed over
  }
  *out = L'\0';
  return self.interrupted_ ? -1 : 0;
}

unsigned char LineEditor::paste(EditLine* editor, unsigned int) {
  std::wstring pasted;
  bool is_too_long = false;
  for (wchar_t c = 0; !pasted.ends_with(kPasteEnd); pasted.push_back(c)) {
    if (pasted.size() > kMaxPaste) {  // read on to the end: the rest must not act as keys
      is_too_long = true;
      pasted.erase(0, pasted.size() - kPasteEnd.size());
    }
    if (read_char(editor, &c) != 1) return CC_EOF;
  }
  if (is_too_long) return CC_ERROR;
  pasted.resize(pasted.size() - kPasteEnd.size());
  return el_winsertstr(editor, cleaned(pasted).c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

}  // namespace packhorse::cli
