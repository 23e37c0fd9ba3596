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

#include "codec/tables.h"
#include "kernels/packed_weight.h"

namespace {

using namespace packhorse;

struct NamedEncoding {
  const char* name;
  Encoding encoding;
};

Encoding grouped(uint8_t bits, int16_t offset, ScaleType min = ScaleType::none) {
  return {.element = Element::integer,
          .bits = bits,
          .offset = offset,
          .grouping = {GroupKind::along_k, 32},
          .scale = ScaleType::f16,
          .min = min};
}

Encoding two_level(uint8_t bits, int16_t offset, uint32_t group, ScaleType scale, ScaleType min) {
  return {.element = Element::integer,
          .bits = bits,
          .offset = offset,
          .grouping = {GroupKind::along_k, group},
          .scale = scale,
          .min = min,
          .super_size = 256};
}

/// bf16 scales of 128 columns, with zero points if `zero`.
Encoding group_128(uint8_t bits, bool zero) {
  return {.element = Element::integer,
          .bits = bits,
          .offset = static_cast<int16_t>(zero ? 0 : 1 << (bits - 1)),
          .grouping = {GroupKind::along_k, 128},
          .scale = ScaleType::bf16,
          .zero = zero ? ScaleType::u8 : ScaleType::none};
}

const NamedEncoding kEncodings[] = {
    {"f32", {}},
    {"f16", {.element = Element::f16, .bits = 16}},
    {"bf16", {.element = Element::bf16, .bits = 16}},
    {"q4_0", grouped(4, 8)},
    {"q4_1", grouped(4, 0, ScaleType::f16)},
    {"q5_0", grouped(5, 16)},
    {"q5_1", grouped(5, 0, ScaleType::f16)},
    {"q8_0", grouped(8, 128)},
    {"int3_g128", group_128(3, false)},
    {"int4_g128", group_128(4, false)},
    {"int4_g128_zero", group_128(4, true)},
    {"int8_g128", group_128(8, false)},
    {"int8_g128_zero", group_128(8, true)},
    {"q2_k", two_level(2, 0, 16, ScaleType::u4, ScaleType::u4)},
    {"q3_k", two_level(3, 4, 16, ScaleType::i8, ScaleType::none)},
    {"q4_k", two_level(4, 0, 32, ScaleType::u8, ScaleType::u8)},
    {"q5_k", two_level(5, 0, 32, ScaleType::u8, ScaleType::u8)},
    {"q6_k", two_level(6, 32, 16, ScaleType::i8, ScaleType::none)},
    {"nf4",
     {.element = Element::table,
      .bits = 4,
      .table = &kNf4,
      .grouping = {GroupKind::along_k, 64},
      .scale = ScaleType::f32}},
};

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
  for (const NamedEncoding& named : kEncodings) {
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
