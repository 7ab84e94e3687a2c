// Sorting networks over blocks of columns, in registers and, to merge groups of rows, in the first cache.

#include "columns.h"

#include "elements.h"
#include "network.h"

#include <limits>

namespace fb {
namespace {

constexpr size_t AHEAD = 4 * COLUMNS; // how far ahead of their need elements are asked for

template <typename T> using Row = const typename Unaligned<T>::Type *;

// There are more rows than the processor follows by itself.
template <typename T> FB_INLINE void prefetch_block(const char *const *rows, size_t n, size_t from) {
  for (size_t i = 0; i < n; ++i)
    prefetch(rows[i], (from + AHEAD) * sizeof(T), COLUMNS * sizeof(T));
}

// N rows into their slots.
template <typename T, size_t N>
FB_INLINE void sort_group(const char *const *rows, const uint32_t *slots, size_t from, T *sorted, T *check) {
  Row<T> at[N];
  T *to[N];
  for (size_t i = 0; i < N; ++i) {
    at[i] = reinterpret_cast<Row<T>>(rows[i]) + from;
    to[i] = sorted + slots[i] * COLUMNS;
  }
  constexpr T infinity = std::numeric_limits<T>::infinity();
  FB_INDEPENDENT
  for (size_t j = 0; j < COLUMNS; ++j) {
    T values[N];
    T products = 0;
    for (size_t i = 0; i < N; ++i) {
      products += at[i][j] * 0;
      values[i] = at[i][j] < infinity ? at[i][j] : infinity;
    }
    check[j] += products;
    sort_values<N>(values);
    for (size_t i = 0; i < N; ++i)
      to[i][j] = values[i];
  }
}

template <typename T>
FB_INLINE void sort_rows(const char *const *rows, size_t n, const uint32_t *slots, size_t from, T *sorted, T *check) {
  switch (n) {
  case 1: return sort_group<T, 1>(rows, slots, from, sorted, check);
  case 2: return sort_group<T, 2>(rows, slots, from, sorted, check);
  case 3: return sort_group<T, 3>(rows, slots, from, sorted, check);
  case 4: return sort_group<T, 4>(rows, slots, from, sorted, check);
  case 5: return sort_group<T, 5>(rows, slots, from, sorted, check);
  case 6: return sort_group<T, 6>(rows, slots, from, sorted, check);
  case 7: return sort_group<T, 7>(rows, slots, from, sorted, check);
  case 8: return sort_group<T, 8>(rows, slots, from, sorted, check);
  case 9: return sort_group<T, 9>(rows, slots, from, sorted, check);
  case 10: return sort_group<T, 10>(rows, slots, from, sorted, check);
  case 11: return sort_group<T, 11>(rows, slots, from, sorted, check);
  case 12: return sort_group<T, 12>(rows, slots, from, sorted, check);
  case 13: return sort_group<T, 13>(rows, slots, from, sorted, check);
  case 14: return sort_group<T, 14>(rows, slots, from, sorted, check);
  case 15: return sort_group<T, 15>(rows, slots, from, sorted, check);
  default: return sort_group<T, LARGEST_GROUP>(rows, slots, from, sorted, check);
  }
}

template <typename T>
FB_INLINE void sort_all(const SortPlan &plan, const char *const *rows, size_t from, T *sorted, T *check) {
  prefetch_block<T>(rows, plan.n, from);
  for (const SortGroup &group : plan.groups)
    sort_rows(rows + group.first, group.count, plan.slots.data() + group.first, from, sorted, check);
  for (const Comparator &comparator : plan.merges) {
    T *const low = sorted + comparator.low * COLUMNS;
    T *const high = sorted + comparator.high * COLUMNS;
    FB_INDEPENDENT
    for (size_t j = 0; j < COLUMNS; ++j)
      put_in_order(low[j], high[j]);
  }
}

template <typename T, int LENGTH>
FB_INLINE void average(const T *sorted, size_t low, size_t high, double *result) {
  using Wide = typename Register<double, LENGTH>::Type;
  constexpr size_t registers = 8, strip = registers * LENGTH;
  const double weight = 1 / static_cast<double>(high - low);
  for (size_t at = 0; at < COLUMNS; at += strip) {
    Wide sums[registers];
    for (size_t r = 0; r < registers; ++r)
      sums[r] = Wide{};
    for (size_t i = low; i < high; ++i)
      for (size_t r = 0; r < registers; ++r) {
        typename Register<T, LENGTH>::Type values;
        Wide wide;
        __builtin_memcpy(&values, sorted + i * COLUMNS + at + r * LENGTH, sizeof values);
        widen<LENGTH>(values, wide);
        sums[r] += wide * weight;
      }
    for (size_t r = 0; r < registers; ++r)
      __builtin_memcpy(result + at + r * LENGTH, &sums[r], sizeof(Wide));
  }
}

template <typename T, int LENGTH>
FB_INLINE void read_wide(const T *from, typename Register<double, LENGTH>::Type &to) {
  typename Register<T, LENGTH>::Type values;
  __builtin_memcpy(&values, from, sizeof values);
  widen<LENGTH>(values, to);
}

// In order the k nearest are neighbours: a window that moves up while the next value is nearer than its lowest. So of
// the values whose places are equal modulo k, one is in it: it is replaced, never subtracted, and an outlier leaves no
// trace.
template <typename T, int LENGTH>
FB_INLINE void average_nearest(const T *sorted, size_t n, const Nearest &nearest, NearestMeans &to, double *ties) {
  using Wide = typename Register<double, LENGTH>::Type;
  constexpr size_t registers = LENGTH == 8 ? 4 : 2, strip = registers * LENGTH; // so that no sum waits for its last
  const size_t k = nearest.k;
  const double share = 1 / static_cast<double>(nearest.high - nearest.low), weight = 1 / static_cast<double>(k);
  Wide all_ties{};
  for (size_t at = 0; at < COLUMNS; at += strip) {
    Wide centre[registers], result[registers], tied[registers], lowest[registers], chosen[registers], next;
    for (size_t r = 0; r < registers; ++r)
      centre[r] = result[r] = tied[r] = Wide{};
    for (size_t i = nearest.low; i < nearest.high; ++i)
      for (size_t r = 0; r < registers; ++r) {
        read_wide<T, LENGTH>(sorted + i * COLUMNS + at + r * LENGTH, next);
        centre[r] += next * share;
      }
    for (size_t first = 0; first < k; ++first) {
      for (size_t r = 0; r < registers; ++r) {
        read_wide<T, LENGTH>(sorted + first * COLUMNS + at + r * LENGTH, lowest[r]);
        chosen[r] = lowest[r];
      }
      for (size_t place = first + k; place < n; place += k)
        for (size_t r = 0; r < registers; ++r) {
          read_wide<T, LENGTH>(sorted + place * COLUMNS + at + r * LENGTH, next);
          const Wide below = centre[r] - lowest[r], above = next - centre[r];
          tied[r] += above == below ? next - lowest[r] : Wide{};
          chosen[r] = above < below ? next : chosen[r];
          lowest[r] = next;
        }
      for (size_t r = 0; r < registers; ++r)
        result[r] += chosen[r] * weight;
    }
    for (size_t r = 0; r < registers; ++r) {
      all_ties += tied[r];
      __builtin_memcpy(to.centres + at + r * LENGTH, &centre[r], sizeof(Wide));
      __builtin_memcpy(to.results + at + r * LENGTH, &result[r], sizeof(Wide));
      __builtin_memcpy(to.tied + at + r * LENGTH, &tied[r], sizeof(Wide));
    }
  }
  for (size_t lane = 0; lane < LENGTH; ++lane)
    *ties += all_ties[lane];
}

template <int>
FB_INLINE void sort_floats_body(const SortPlan &plan, const char *const *rows, size_t from, float *sorted,
                                float *check) {
  sort_all(plan, rows, from, sorted, check);
}
FB_MULTIVERSION(sort_floats,
                (const SortPlan &plan, const char *const *rows, size_t from, float *sorted, float *check),
                (plan, rows, from, sorted, check))

template <int>
FB_INLINE void sort_doubles_body(const SortPlan &plan, const char *const *rows, size_t from, double *sorted,
                                 double *check) {
  sort_all(plan, rows, from, sorted, check);
}
FB_MULTIVERSION(sort_doubles,
                (const SortPlan &plan, const char *const *rows, size_t from, double *sorted, double *check),
                (plan, rows, from, sorted, check))

template <int LENGTH>
FB_INLINE void average_floats_body(const float *sorted, size_t low, size_t high, double *result) {
  average<float, LENGTH>(sorted, low, high, result);
}
FB_MULTIVERSION(average_floats, (const float *sorted, size_t low, size_t high, double *result),
                (sorted, low, high, result))

template <int LENGTH>
FB_INLINE void average_doubles_body(const double *sorted, size_t low, size_t high, double *result) {
  average<double, LENGTH>(sorted, low, high, result);
}
FB_MULTIVERSION(average_doubles, (const double *sorted, size_t low, size_t high, double *result),
                (sorted, low, high, result))

template <int LENGTH>
FB_INLINE void nearest_floats_body(const float *sorted, size_t n, const Nearest &nearest, NearestMeans &to,
                                   double *ties) {
  average_nearest<float, LENGTH>(sorted, n, nearest, to, ties);
}
FB_MULTIVERSION(nearest_floats,
                (const float *sorted, size_t n, const Nearest &nearest, NearestMeans &to, double *ties),
                (sorted, n, nearest, to, ties))

template <int LENGTH>
FB_INLINE void nearest_doubles_body(const double *sorted, size_t n, const Nearest &nearest, NearestMeans &to,
                                    double *ties) {
  average_nearest<double, LENGTH>(sorted, n, nearest, to, ties);
}
FB_MULTIVERSION(nearest_doubles,
                (const double *sorted, size_t n, const Nearest &nearest, NearestMeans &to, double *ties),
                (sorted, n, nearest, to, ties))

} // namespace

ColumnSort::ColumnSort(size_t n, size_t low, size_t high)
    : straight_((n - 1) / 2 <= low && high <= n / 2 + 1 ? median_sorter_of(n) : sorter_of(n)),
      plan_(plan_sort(n, low, high)) {}

void ColumnSort::operator()(const char *const *rows, size_t from, float *sorted, FiniteCheck<float> &check) const {
  if (straight_)
    straight_(rows, from, sorted, check.sums);
  else
    sort_floats(plan_, rows, from, sorted, check.sums);
}

void ColumnSort::operator()(const char *const *rows, size_t from, double *sorted, FiniteCheck<double> &check) const {
  sort_doubles(plan_, rows, from, sorted, check.sums);
}

void mean_of_places(const float *sorted, size_t low, size_t high, double *result) {
  average_floats(sorted, low, high, result);
}

void mean_of_places(const double *sorted, size_t low, size_t high, double *result) {
  average_doubles(sorted, low, high, result);
}

bool mean_nearest(const float *sorted, size_t n, const Nearest &nearest, NearestMeans &to) {
  double ties = 0;
  nearest_floats(sorted, n, nearest, to, &ties);
  return ties != 0;
}

bool mean_nearest(const double *sorted, size_t n, const Nearest &nearest, NearestMeans &to) {
  double ties = 0;
  nearest_doubles(sorted, n, nearest, to, &ties);
  return ties != 0;
}

} // namespace fb
