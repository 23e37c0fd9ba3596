#pragma once
// Values of small floats whose format is known at run time, over a vector type S.

#include <cstdint>

#include "codec/encoding.h"

namespace packhorse {
namespace {

template <class S>
struct Minifloats {
  typename S::I right, magnitude, rebias;
  typename S::F minus_least;  // normal number

  Minifloats(int bits, int mantissa, int bias)
      : right(S::set1_i32(9 - bits + mantissa)),
        magnitude(S::set1_i32(((1 << (bits - 1)) - 1) << (23 - mantissa))),
        rebias(S::set1_i32((127 - bias) << 23)),
        minus_least(S::sub(S::zero(), S::float_of_bits(S::set1_i32((128 - bias) << 23)))) {}

  explicit Minifloats(const Encoding& e) : Minifloats(e.bits, e.mantissa, e.bias) {}

  /// One code a lane, its sign in the highest bit; bits below the code are ignored. With `least` for the least normal
  /// number, a subnormal code read as a normal one gives n = (least + value) / 2, so that 2 n - least is the value; of
  /// normal codes this is at least n. No subnormal float occurs, which some CPUs are slow with.
  [[gnu::always_inline]] typename S::F operator()(typename S::I code) const {
    const typename S::I placed = S::and_(S::shift_right_each(code, right), magnitude);
    const typename S::F n = S::float_of_bits(S::add_i32(placed, rebias));
    return S::with_sign(S::min(n, S::fma(n, S::set1(2), minus_least)), code);
  }
};

}  // namespace
}  // namespace packhorse
