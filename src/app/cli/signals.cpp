#include "app/cli/signals.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

/// Handlers can reach nothing but globals. Never closed: a late signal must find it open.
int notes[2] = {-1, -1};

extern "C" void leave_note(int signal) {
  const int saved = errno;
  const auto note = static_cast<unsigned char>(signal);
  if (::write(notes[1], &note, 1) < 0) errno = 0;  // full: there are notes enough
  errno = saved;
}

void install(int signal, struct sigaction* previous) {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // nobody else is to see a call fail
  action.sa_handler = leave_note;
  sigaction(signal, &action, previous);
}

}  // namespace

SignalWatch::SignalWatch(std::initializer_list<int> signals) {
  if (notes[0] < 0 && ::pipe2(notes, O_NONBLOCK | O_CLOEXEC) != 0)
    throw Error(ErrorKind::resource, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  for (const int signal : signals) install(signal, &previous_[signal]);
}

SignalWatch::~SignalWatch() {
  for (const auto& [signal, action] : previous_) sigaction(signal, &action, nullptr);
}

int SignalWatch::descriptor() const { return notes[0]; }

int SignalWatch::next() {
  unsigned char note = 0;
  return ::read(notes[0], &note, 1) == 1 ? note : 0;
}

void SignalWatch::let_pass(int signal) {
  sigaction(signal, &previous_.at(signal), nullptr);
  ::raise(signal);
  install(signal, nullptr);
}

}  // namespace packhorse::cli
