#pragma once
// Deep recursion over what others wrote: it gets a stack of its own that is large enough.

#include <functional>

namespace packhorse {

/// Runs `work` on a thread with a large stack and waits for it. What it throws is thrown here. Throws Error{resource}
/// when there is no thread.
void run_on_large_stack(const std::function<void()>& work);

}  // namespace packhorse
