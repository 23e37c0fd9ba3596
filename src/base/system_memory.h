#pragma once
// How much memory this process may still use.

#include <cstdint>

namespace packhorse {

/// Bytes available without swapping: the system's estimate, and what the cgroup's limit leaves. 0 when neither can be
/// read.
uint64_t available_memory();

}  // namespace packhorse
