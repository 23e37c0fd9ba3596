#pragma once
// Included before every source of xgrammar, and before its own headers here. xgrammar cannot be stopped by itself, and
// a grammar of one line can keep it busy for hours. Its debug checks stand in all of its loops, so they become the
// places where it looks at the clock: out of time, they throw.

#include <support/logging.h>
#include <support/recursion_guard.h>  // keeps its own checks: they run in destructors, which must not throw

#include <cstdint>

namespace packhorse {

extern constinit thread_local int64_t checks_before_clock;
/// Throws when the CPU time of the thread's XgrammarTime is up.
void look_at_clock();
inline void on_xgrammar_check() {
  if (--checks_before_clock < 0) look_at_clock();
}

}  // namespace packhorse

#undef XGRAMMAR_DCHECK
#define XGRAMMAR_DCHECK(x) \
  for (::packhorse::on_xgrammar_check(); false;) XGRAMMAR_ICHECK(x)
