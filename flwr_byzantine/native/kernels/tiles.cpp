// The tiles. Their sizes are fixed when compiled: else the sums would lie in memory.

#include "tiles.h"

#include "simd.h"

#include <cmath>
#include <cstdint>
#include <utility>

namespace fb {
namespace {

enum class Pairing { squared_differences, products };

// So many squares are summed in float before their sum goes to float64: at the most 1e-6 of it is lost.
constexpr size_t RUN = 16;

template <int LENGTH> FB_INLINE void flush(const typename Register<double, LENGTH>::Type &total, double *sums) {
  typename Register<double, LENGTH>::Type sum;
  __builtin_memcpy(&sum, sums, sizeof sum);
  sum += total;
  __builtin_memcpy(sums, &sum, sizeof sum);
}

template <int LENGTH> FB_INLINE void flush(const typename Register<float, 2 * LENGTH>::Type &total, double *sums) {
  typename Register<float, LENGTH>::Type halves[2];
  typename Register<double, LENGTH>::Type low, high;
  __builtin_memcpy(halves, &total, sizeof halves);
  widen<LENGTH>(halves[0], low);
  widen<LENGTH>(halves[1], high);
  flush<LENGTH>(low + high, sums);
}

// Two rows of the next block, of which one tile asks for the lines.
struct Asked {
  FB_INLINE Asked(const Ahead &ahead, size_t tile, size_t tiles) : size(ahead.size) {
    const size_t first = ahead.n * tile / tiles;
    one = ahead.rows[first] + ahead.offset;
    other = ahead.rows[first + 1 < ahead.n ? first + 1 : first] + ahead.offset;
  }
  FB_INLINE void ask(size_t column) const {
    prefetch(one, column * size, 1);
    prefetch(other, column * size, 1);
  }

  const char *one, *other;
  size_t size;
};

// One run of one tile; on the diagonal, of the pairs i < j, or of products i <= j, alone.
template <typename T, int LENGTH, size_t TILE, Pairing PAIRING, bool DIAGONAL>
FB_INLINE void add_run(const char *const *left, const char *const *right, size_t from, size_t columns, const Asked &asked,
                       double *sums) {
  constexpr size_t lanes = LENGTH * sizeof(double) / sizeof(T);
  constexpr size_t beyond = PAIRING == Pairing::products ? 0 : 1;
  using Vector = typename Register<T, lanes>::Type;
  Vector total[TILE][TILE];
  const char *a_rows[TILE], *b_rows[TILE];
  for (size_t i = 0; i < TILE; ++i) {
    a_rows[i] = left[i] + from * sizeof(T);
    b_rows[i] = right[i] + from * sizeof(T);
    for (size_t j = 0; j < TILE; ++j)
      total[i][j] = Vector{};
  }
  for (size_t column = 0; column < columns; column += lanes) {
    asked.ask(from + column);
    Vector b[TILE];
    for (size_t j = 0; j < TILE; ++j)
      __builtin_memcpy(&b[j], b_rows[j] + column * sizeof(T), sizeof(Vector));
    for (size_t i = 0; i < TILE; ++i) {
      Vector a;
      __builtin_memcpy(&a, a_rows[i] + column * sizeof(T), sizeof(Vector));
      for (size_t j = DIAGONAL ? i + beyond : 0; j < TILE; ++j) {
        const Vector difference = a - b[j];
        total[i][j] += PAIRING == Pairing::products ? a * b[j] : difference * difference;
      }
    }
  }
  for (size_t i = 0; i < TILE; ++i)
    for (size_t j = DIAGONAL ? i + beyond : 0; j < TILE; ++j)
      flush<LENGTH>(total[i][j], sums + (i * TILE + j) * LANES);
}

template <typename T, int LENGTH, size_t TILE, Pairing PAIRING, bool DIAGONAL>
FB_INLINE void add_tile(const char *const *left, const char *const *right, const Asked &asked, double *sums) {
  constexpr size_t run = sizeof(T) == sizeof(float) ? RUN * 2 * LENGTH : BLOCK_COLUMNS<T>;
  for (size_t from = 0; from < BLOCK_COLUMNS<T>; from += run)
    add_run<T, LENGTH, TILE, PAIRING, DIAGONAL>(left, right, from, run, asked, sums);
}

// All tiles on or above the diagonal, one after the other in `sums`.
template <typename T, int LENGTH, size_t TILE, Pairing PAIRING>
FB_INLINE void add_tiles(const char *const *rows, size_t tiles, const Ahead &ahead, double *sums) {
  size_t at = 0;
  for (size_t i = 0; i < tiles; ++i)
    for (size_t j = i; j < tiles; ++j, ++at, sums += TILE * TILE * LANES) {
      const Asked asked(ahead, at, tiles * (tiles + 1) / 2);
      if (i == j)
        add_tile<T, LENGTH, TILE, PAIRING, true>(rows + i * TILE, rows + j * TILE, asked, sums);
      else
        add_tile<T, LENGTH, TILE, PAIRING, false>(rows + i * TILE, rows + j * TILE, asked, sums);
    }
}

template <typename T, int LENGTH, Pairing PAIRING>
FB_INLINE void add_block_of(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums) {
  if constexpr (LENGTH == 8) { // there are 32 registers
    switch (tiling.tile) {
    case 4: return add_tiles<T, LENGTH, 4, PAIRING>(rows, tiling.tiles, ahead, sums);
    case 5: return add_tiles<T, LENGTH, 5, PAIRING>(rows, tiling.tiles, ahead, sums);
    }
  }
  add_tiles<T, LENGTH, 3, PAIRING>(rows, tiling.tiles, ahead, sums);
}

template <int LENGTH>
FB_INLINE void float_differences_body(const char *const *rows, const Tiling &tiling, const Ahead &ahead,
                                      double *sums) {
  add_block_of<float, LENGTH, Pairing::squared_differences>(rows, tiling, ahead, sums);
}
FB_MULTIVERSION(float_differences, (const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums),
                (rows, tiling, ahead, sums))

template <int LENGTH>
FB_INLINE void double_differences_body(const char *const *rows, const Tiling &tiling, const Ahead &ahead,
                                       double *sums) {
  add_block_of<double, LENGTH, Pairing::squared_differences>(rows, tiling, ahead, sums);
}
FB_MULTIVERSION(double_differences, (const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums),
                (rows, tiling, ahead, sums))

template <int LENGTH>
FB_INLINE void double_products_body(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums) {
  add_block_of<double, LENGTH, Pairing::products>(rows, tiling, ahead, sums);
}
FB_MULTIVERSION(double_products, (const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums),
                (rows, tiling, ahead, sums))

} // namespace

Tiling::Tiling(size_t n) : tile(3), tiles((n + 2) / 3) {
#ifdef FB_TARGET_AVX512
  if (instruction_set() != InstructionSet::avx512)
    return;
  // What a pair costs in a tile of each size: small ones load more, and the sums of still larger ones would not fit.
  constexpr std::pair<size_t, double> COSTS[] = {{3, 1.5}, {4, 1.0}, {5, 0.85}};
  double least = HUGE_VAL;
  for (const auto &[size, cost] : COSTS) {
    const size_t count = (n + size - 1) / size;
    const double all = cost * static_cast<double>(count * size * (count * size - 1));
    if (all < least) {
      least = all;
      tile = size;
      tiles = count;
    }
  }
#endif
}

size_t Tiling::place(size_t i, size_t j) const {
  const size_t row = i / tile, column = j / tile;
  const size_t before = row * tiles - row * (row + 1) / 2 + column;
  return (before * tile * tile + i % tile * tile + j % tile) * LANES;
}

template <>
void add_differences<float>(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums) {
  float_differences(rows, tiling, ahead, sums);
}

template <>
void add_differences<double>(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums) {
  double_differences(rows, tiling, ahead, sums);
}

void add_products(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums) {
  double_products(rows, tiling, ahead, sums);
}

} // namespace fb
