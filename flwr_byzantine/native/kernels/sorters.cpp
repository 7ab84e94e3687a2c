// The networks by number of rows.

#include "sorters.h"

#include "simd.h"

namespace fb {

#ifdef FB_TARGET_AVX2

extern const Sorter SORT_AVX512[], SORT_AVX2[], MEDIAN_AVX512[], MEDIAN_AVX2[];

namespace {

Sorter sorter_from(const Sorter *avx512, const Sorter *avx2, size_t n) {
  if (n > MOST_SORTED || instruction_set() == InstructionSet::baseline)
    return nullptr;
  return instruction_set() == InstructionSet::avx512 ? avx512[n] : avx2[n];
}

} // namespace

Sorter sorter_of(size_t n) { return sorter_from(SORT_AVX512, SORT_AVX2, n); }
Sorter median_sorter_of(size_t n) { return sorter_from(MEDIAN_AVX512, MEDIAN_AVX2, n); }

#else

Sorter sorter_of(size_t) { return nullptr; }
Sorter median_sorter_of(size_t) { return nullptr; }

#endif

} // namespace fb
