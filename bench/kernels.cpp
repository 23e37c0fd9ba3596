// Speed of single matmul kernels on one thread: `build/kernels --benchmark_filter=u6`, best row of each encoding. Names
// are encoding / tokens / N x K. "weights" counts bytes of packed weight read per second, "ops" two per multiply-add.
//
// The small matrix stays in the second-level cache and shows what the arithmetic costs; the large one comes from
// memory.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kernels/encodings.h"
#include "kernels/packed_weight.h"

namespace {

using namespace packhorse;
using testing::NamedEncoding;

/// Random codes, all scales 1: speed depends on neither.
WeightPlan random_plan(const NamedEncoding& named, int64_t n, int64_t k) {
  const Encoding e = named.encoding;
  WeightPlan plan{.name = named.name, .encoding = e, .n = n, .k = k, .read = {}};
  plan.read = [e, k](int64_t begin, int64_t count, RowBlock& rows) {
    rows.resize(e, begin, count, k);
    std::minstd_rand random(static_cast<unsigned>(begin) + 1);
    const auto mask = static_cast<uint8_t>(is_float(e.element) ? 0x3f : (1u << e.bits) - 1);
    for (uint8_t& code : rows.codes) code = static_cast<uint8_t>(random() >> 8) & mask;
    for (std::vector<float>* v : {&rows.scale, &rows.min, &rows.zero, &rows.super_scale, &rows.super_min})
      v->assign(v->size(), 1);
  };
  return plan;
}

/// Activations of m tokens in every form, through the selected rows.
struct Inputs {
  std::vector<float> x, f32;
  std::vector<int8_t> q;
  std::vector<uint16_t> bf16;
  std::vector<ActBlock> blocks;
  int64_t stride;

  Inputs(const KernelSelector& selector, int64_t m, int64_t k)
      : x(static_cast<size_t>(m * k), 0.5f),
        f32(static_cast<size_t>(m * padded_k(k))),
        q(static_cast<size_t>(act_block_count(m, padded_k(k) / kBlockK) * kBlockK)),
        bf16(f32.size()),
        blocks(q.size() / kBlockK),
        stride(padded_k(k)) {
    const QuantizeActArgs args{.x = x.data(),
                               .x_stride = k,
                               .k = k,
                               .stride = stride,
                               .f32 = f32.data(),
                               .bf16 = bf16.data(),
                               .q = q.data(),
                               .blocks = blocks.data()};
    selector.choose({.op = Op::quantize_act}, "bench").kernel->run.quantize_act(args, 0, m);
  }
  ActView view() const {
    return {.f32 = f32.data(), .bf16 = bf16.data(), .q = q.data(), .blocks = blocks.data(), .stride = stride};
  }
};

void run(benchmark::State& state, const NamedEncoding& named, int64_t m, int64_t n, int64_t k, bool fast) {
  const char* isa = std::getenv("PACKHORSE_ISA");
  const KernelSelector selector(isa ? isa : "");
  ThreadPool pool(1);
  const PackedWeight weight(random_plan(named, n, k), selector, pool, {.fast = fast, .on_read = {}});
  const Inputs in(selector, m, k);
  std::vector<float> y(static_cast<size_t>(m * n));
  for (auto _ : state) {
    weight.multiply(in.view(), m, y.data(), n, nullptr, pool);
    benchmark::DoNotOptimize(y.data());
  }
  state.SetLabel(weight.kernel().name());
  const auto rate = [&](double per_iteration) {
    return benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["weights"] = rate(static_cast<double>(weight.packed_bytes()));
  state.counters["ops"] = rate(2.0 * static_cast<double>(m * n) * static_cast<double>(k));
}

}  // namespace

int main(int argc, char** argv) {
  struct Shape {
    int64_t m, n, k;
  };
  for (const NamedEncoding& named : testing::encodings()) {
    for (const Shape s : {Shape{1, 128, 1536}, Shape{1, 16384, 5120}, Shape{128, 1536, 1536}}) {
      const std::string name =
          std::string(named.name) + "/" + std::to_string(s.m) + "/" + std::to_string(s.n) + "x" + std::to_string(s.k);
      benchmark::RegisterBenchmark(name.c_str(), [=, &named](benchmark::State& state) {
        run(state, named, s.m, s.n, s.k, true);
      })->MinTime(0.1);
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
