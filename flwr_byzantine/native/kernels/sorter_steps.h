// The steps of a network, for the vectors of whichever instruction set includes this.

#ifndef FLWR_BYZANTINE_SORTER_STEPS_H
#define FLWR_BYZANTINE_SORTER_STEPS_H

namespace fb {
namespace {

constexpr size_t AHEAD = 320; // bytes: more rows are read at once than the processor follows by itself

FB_TARGET FB_INLINE void put_in_order(Vector &low, Vector &high) {
  const Vector lesser = least(low, high);
  high = most(low, high);
  low = lesser;
}

// NaN becomes infinity: the instruction gives its second operand where there is no order.
FB_TARGET FB_INLINE Vector load(const char *row, size_t at) {
  prefetch(row, at + AHEAD, 1);
  return least(read(reinterpret_cast<const float *>(row + at)), all(__builtin_inff()));
}

// The same; a number that is not finite makes `odd` NaN for good.
FB_TARGET FB_INLINE Vector load(const char *row, size_t at, Vector &odd) {
  const Vector values = load(row, at);
  odd = multiply_add(values, zero(), odd);
  return values;
}

FB_TARGET FB_INLINE void note(float *check, Vector one, Vector other) {
  const Vector odd = multiply(one, zero());
  store(check, add(read(check), multiply_add(other, zero(), odd)));
}

} // namespace
} // namespace fb

#endif
