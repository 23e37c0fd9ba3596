#include "app/cli/read_bandwidth.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kLineWords = 8;  // 64 bytes
constexpr size_t kUnrolled = 8, kStep = kUnrolled * kLineWords;
constexpr int kPasses = 6;  // the first also brings clocks and threads up

/// Pages of its own, as large as the system gives: the weights of a model get the same.
class Buffer {
 public:
  explicit Buffer(size_t n_bytes) : n_bytes_(n_bytes) {
    memory_ = ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) {
      throw Error(ErrorKind::resource,
                  fmt::format("read bandwidth: cannot map {} MiB: {}", n_bytes / kMiB, std::strerror(errno)));
    }
    ::madvise(memory_, n_bytes, MADV_HUGEPAGE);  // advice: a refusal costs only speed
  }
  ~Buffer() { ::munmap(memory_, n_bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::span<uint64_t> words() const { return {static_cast<uint64_t*>(memory_), n_bytes_ / sizeof(uint64_t)}; }

 private:
  void* memory_;
  size_t n_bytes_;
};

/// Reads a word of every line, which brings all of it from memory, into independent sums: the memory alone sets the
/// pace, whatever the widest load of this CPU is.
uint64_t sum_of_lines(std::span<const uint64_t> words) {
  uint64_t sums[kUnrolled] = {};
  for (size_t i = 0; i + kStep <= words.size(); i += kStep) {
    for (size_t j = 0; j < kUnrolled; ++j) sums[j] += words[i + j * kLineWords];
  }
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  return sum;
}

/// Times at which all threads had come to the same point.
struct Laps {
  std::chrono::steady_clock::time_point times[kPasses + 1];
  size_t count = 0;
  void operator()() noexcept { times[count++] = std::chrono::steady_clock::now(); }
};
/// What std::barrier calls; it copies its argument.
struct Lap {
  Laps* laps;
  void operator()() const noexcept { (*laps)(); }
};

/// One thread's part of all passes.
void read_part(std::span<uint64_t> part, std::barrier<Lap>& barrier, std::atomic<uint64_t>& used) {
  std::ranges::fill(part, 1);  // first touched by the thread that will read it
  barrier.arrive_and_wait();
  uint64_t sum = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    sum += sum_of_lines(part);
    barrier.arrive_and_wait();
  }
  used += sum;
}

enum class Start : uint8_t { wait, go, give_up };

}  // namespace

size_t streaming_buffer_bytes(int threads) {
  const auto from_system = [](int name) { return static_cast<size_t>(std::max<int64_t>(::sysconf(name), 0)); };
  const size_t cache = from_system(_SC_LEVEL3_CACHE_SIZE) + from_system(_SC_LEVEL2_CACHE_SIZE);
  const size_t wanted = std::max({128 * kMiB, 4 * cache, 32 * kMiB * static_cast<size_t>(threads)});
  const size_t free = from_system(_SC_AVPHYS_PAGES) * from_system(_SC_PAGESIZE);
  return std::max(std::min(wanted, free / 2), 16 * kMiB) / kMiB * kMiB;
}

double measure_read_bandwidth(int threads, size_t n_bytes) {
  const auto n_threads = static_cast<size_t>(threads);
  const Buffer buffer(n_bytes);
  const size_t part = buffer.words().size() / n_threads / kStep * kStep;
  Laps laps;
  std::barrier<Lap> barrier(threads, Lap{&laps});
  std::atomic<uint64_t> used{0};
  std::atomic<Start> start{Start::wait};  // the barrier counts all threads, so that none may pass it before all exist
  {
    std::vector<std::jthread> others;
    const auto release = [&](Start how) {
      start = how;
      start.notify_all();
    };
    try {
      for (size_t i = 1; i < n_threads; ++i) {
        others.emplace_back([&, i] {
          start.wait(Start::wait);
          if (start == Start::go) read_part(buffer.words().subspan(i * part, part), barrier, used);
        });
      }
    } catch (const std::system_error& e) {
      release(Start::give_up);
      throw Error(ErrorKind::resource, fmt::format("read bandwidth: cannot start {} threads: {}", threads, e.what()));
    }
    release(Start::go);
    read_part(buffer.words().first(part), barrier, used);
  }
  if (used != static_cast<uint64_t>(kPasses) * part / kLineWords * n_threads) {
    throw Error(ErrorKind::internal, fmt::format("read bandwidth: {} lines were read", used.load()));
  }
  std::chrono::duration<double> best = laps.times[1] - laps.times[0];
  for (size_t i = 2; i < laps.count; ++i) {
    best = std::min<std::chrono::duration<double>>(best, laps.times[i] - laps.times[i - 1]);
  }
  return static_cast<double>(part * n_threads * sizeof(uint64_t)) / best.count();
}

}  // namespace packhorse::cli
