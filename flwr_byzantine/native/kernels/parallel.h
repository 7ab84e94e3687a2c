// One computation on several cores.

#ifndef FLWR_BYZANTINE_PARALLEL_H
#define FLWR_BYZANTINE_PARALLEL_H

#include <cstddef>
#include <functional>

namespace fb {

// Call work(0) ... work(count - 1), each once, on up to `threads` threads, this one among them. Throws bad_alloc if
// memory ran out, and runtime_error if stop_parallel was called, before all was done.
void parallel_for(size_t count, size_t threads, const std::function<void(size_t)> &work);

// Call work(from, width) for consecutive ranges that cover `columns`, on up to `threads` threads. Ranges depend on the
// shape alone, so results do not depend on the number of threads.
void for_ranges(size_t columns, size_t range, size_t threads, const std::function<void(size_t, size_t)> &work);

// From now on parallel_for gives up soon.
void stop_parallel();

} // namespace fb

#endif
