// Sums over pairs of rows: tiles of pairs whose sums stay in registers, over blocks of columns that stay in the cache.

#ifndef FLWR_BYZANTINE_TILES_H
#define FLWR_BYZANTINE_TILES_H

#include <cstddef>

namespace fb {

constexpr size_t LANES = 8;          // partial sums of each pair
constexpr size_t BLOCK_BYTES = 1024; // of a row
constexpr size_t PAD_BYTES = 64;     // between rows, so that they do not fall into the same lines

template <typename T> constexpr size_t BLOCK_COLUMNS = BLOCK_BYTES / sizeof(T);
template <typename T> constexpr size_t BLOCK_STRIDE = (BLOCK_BYTES + PAD_BYTES) / sizeof(T);

// How n rows are cut into square tiles: the size that costs least of those that the processor's registers hold.
struct Tiling {
  explicit Tiling(size_t n);
  size_t rows() const { return tile * tiles; }
  size_t sums() const { return tiles * (tiles + 1) / 2 * tile * tile * LANES; }
  size_t place(size_t i, size_t j) const; // of the first of the sums of the pair i <= j

  size_t tile;
  size_t tiles;
};

// Memory that is needed for the next block, asked for while the tiles of this one are worked on: a few requests at a
// time, since a processor that waits for many waits with all else too.
struct Ahead {
  const char *const *rows;
  size_t n;
  size_t offset; // of the next block, bytes
  size_t size;   // of a number, bytes
};

// Add a block's squared differences, or products, to the sums of all pairs: BLOCK_COLUMNS<T> numbers at each of as many
// addresses, of any alignment, as the tiling has rows. For T float and double, and double.
template <typename T>
void add_differences(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums);
void add_products(const char *const *rows, const Tiling &tiling, const Ahead &ahead, double *sums);

} // namespace fb

#endif
