#pragma once
// How fast this machine reads memory that no cache holds: the limit of a decode step.

#include <cstddef>

namespace packhorse::cli {

/// Bytes of a buffer far larger than the caches, and no more than half of the free memory.
size_t streaming_buffer_bytes(int threads);

/// Bytes per second at which `threads` threads read a buffer of `n_bytes` from end to end, each its own part: the best
/// of several passes. Throws Error{resource} when the memory or a thread cannot be had.
double measure_read_bandwidth(int threads, size_t n_bytes);

}  // namespace packhorse::cli
