// Memory of tensors: aligned, seen by the server's maxmemory, and recycled where it is large, since the page faults of
// fresh memory cost more than the arithmetic on it.

#ifndef FLWR_BYZANTINE_MEMORY_H
#define FLWR_BYZANTINE_MEMORY_H

#include "../kernels/scratch.h"

#include <cstddef>

namespace fb {

// Aligned to ALIGNMENT; null if the server has none to give. Any thread.
void *allocate(size_t bytes);
void *allocate_for_program(size_t bytes); // null where the server would exceed its maxmemory
void *allocate_zeroed(size_t bytes);
void deallocate(void *memory);

// Called a few times a second on the main thread: give idle memory back, all of it where the server is short.
void trim_recycled();

size_t recycled_bytes();

// What allocate gave, given back at the end of its life.
class Buffer {
public:
  Buffer() = default;
  Buffer(Buffer &&other) noexcept;
  Buffer &operator=(Buffer &&other) noexcept;
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer();

  // Throws Error if there is no memory.
  static Buffer of(size_t bytes);
  static Buffer zeros(size_t bytes);

  char *data() const { return data_; }
  size_t size() const { return size_; }

private:
  Buffer(char *data, size_t size) : data_(data), size_(size) {}

  char *data_ = nullptr;
  size_t size_ = 0;
};

} // namespace fb

#endif
