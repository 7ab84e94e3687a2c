// Sorting networks for a few values in registers, fixed when compiled.

#ifndef FLWR_BYZANTINE_NETWORK_H
#define FLWR_BYZANTINE_NETWORK_H

#include "simd.h"
#include "sort_plan.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace fb {

// Call visit(low, high) for each comparator of Batcher's odd-even merge sort (Knuth, TAOCP 3, 5.2.2, Algorithm M).
template <typename Visit> constexpr void visit_comparators(uint32_t n, Visit &&visit) {
  uint32_t top = 1;
  while (2 * top < n)
    top *= 2;
  for (uint32_t p = n > 1 ? top : 0; p > 0; p /= 2) {
    uint32_t q = top, r = 0, d = p;
    while (true) {
      for (uint32_t i = 0; i + d < n; ++i)
        if ((i & p) == r)
          visit(i, i + d);
      if (q == p)
        break;
      d = q - p;
      q /= 2;
      r = p;
    }
  }
}

constexpr size_t count_comparators(uint32_t n) {
  size_t count = 0;
  visit_comparators(n, [&count](uint32_t, uint32_t) { ++count; });
  return count;
}

template <uint32_t N> constexpr auto make_network() {
  std::array<Comparator, count_comparators(N)> network{};
  size_t at = 0;
  visit_comparators(N, [&](uint32_t low, uint32_t high) { network[at++] = {low, high}; });
  return network;
}

template <uint32_t N> inline constexpr auto NETWORK = make_network<N>();

// Each as its own condition: so compilers turn both into one instruction.
template <typename T> FB_INLINE void put_in_order(T &low, T &high) {
  const T least = low < high ? low : high;
  const T most = low > high ? low : high;
  low = least;
  high = most;
}

template <uint32_t N, typename T, size_t... I>
FB_INLINE void sort_values([[maybe_unused]] T *values, std::index_sequence<I...>) {
  (put_in_order(values[NETWORK<N>[I].low], values[NETWORK<N>[I].high]), ...);
}

// values[0] ... values[N - 1] in ascending order, none of them NaN.
template <uint32_t N, typename T> FB_INLINE void sort_values(T *values) {
  sort_values<N>(values, std::make_index_sequence<NETWORK<N>.size()>());
}

} // namespace fb

#endif
