// The element types of tensors, by the numbers that the RDB, the backend and the kernels' callers know them by.

#ifndef FLWR_BYZANTINE_ELEMENT_TYPE_H
#define FLWR_BYZANTINE_ELEMENT_TYPE_H

// The order is part of what the RDB stores.
enum fb_dtype {
  FB_FLOAT = 0,
  FB_DOUBLE = 1,
  FB_INT8 = 2,
  FB_INT16 = 3,
  FB_INT32 = 4,
  FB_INT64 = 5,
  FB_UINT8 = 6,
  FB_UINT16 = 7,
  FB_BOOL = 8,
  FB_STRING = 9,    // never handed to a backend
  FB_FLOAT16 = 10,  // an addition to RedisAI's types
  FB_BFLOAT16 = 11, // likewise
};

#endif
