// Reading the arguments of AI.TENSORSET and AI.TENSORGET.

#include "tensor_arguments.h"

#include "backend.h"

#include "settings.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace fb {
namespace {

// From here on a blob's string is kept rather than copied.
constexpr size_t KEEP_FROM = 4096;
constexpr const char *BAD_SHAPE = "ERR invalid or negative value found in tensor shape";
constexpr const char *BAD_VALUE = "ERR invalid value";

// The type and the shape, and where in the arguments the shape ends.
struct Header {
  fb_dtype dtype;
  Shape shape = {};
  size_t elements = 0;
};

// A tensor without elements comes of a script, and so to replicas and from an AOF, but not from a client: as RedisAI.
bool may_be_empty(RedisModuleCtx *ctx) {
  constexpr int from_ourselves = server::CONTEXT_REPLICATED | server::CONTEXT_LOADING | server::CONTEXT_ASYNC_LOADING;
  return (server::GetContextFlags(ctx) & from_ourselves) != 0;
}

Header read_header(RedisModuleCtx *ctx, Arguments &arguments) {
  arguments.skip(1); // the key
  const auto dtype = dtype_of(view(arguments.next()));
  if (!dtype)
    throw Error("ERR invalid data type");
  Header header{*dtype};
  const long long least = may_be_empty(ctx) ? 0 : 1;
  while (!arguments.at_end() && !same_text(arguments.peek(), "BLOB") && !same_text(arguments.peek(), "VALUES")) {
    const auto dimension = whole_number(view(arguments.next()));
    if (!dimension || *dimension < least)
      throw Error(BAD_SHAPE);
    if (header.shape.size() == FB_MAX_DIMS)
      throw Error("ERR a tensor has at most " + std::to_string(FB_MAX_DIMS) + " dimensions");
    header.shape.push_back(*dimension);
  }
  if (!bytes_of(header.dtype, header.shape))
    throw Error(BAD_SHAPE);
  header.elements = *elements_of(header.shape);
  return header;
}

PayloadPtr copied(std::string_view bytes) {
  Buffer buffer = Buffer::of(bytes.size());
  if (!bytes.empty())
    std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return std::make_shared<Payload>(std::move(buffer));
}

PayloadPtr read_blob(const Header &header, Arguments &arguments) {
  if (arguments.remaining() != 1)
    throw Error("ERR a single binary string should come after the BLOB argument in 'AI.TENSORSET' command");
  RedisModuleString *const blob = arguments.next();
  if (const char *const fault = fault_of(header.dtype, header.elements, view(blob)))
    throw Error(fault);
  return view(blob).size() < KEEP_FROM ? copied(view(blob)) : std::make_shared<Payload>(HeldString(blob));
}

template <typename T> void put(char *&at, T value) {
  std::memcpy(at, &value, sizeof value);
  at += sizeof value;
}

template <typename T> void put_whole(char *&at, long long value) {
  if (value < static_cast<long long>(std::numeric_limits<T>::min()) ||
      value > static_cast<long long>(std::numeric_limits<T>::max()))
    throw Error(BAD_VALUE);
  put(at, static_cast<T>(value));
}

void put_real(char *&at, fb_dtype dtype, double value) {
  const bool finite = std::isfinite(value);
  if (dtype == FB_DOUBLE)
    return put(at, value);
  if (dtype == FB_FLOAT) {
    if (finite && std::fabs(value) > static_cast<double>(std::numeric_limits<float>::max()))
      throw Error(BAD_VALUE);
    return put(at, static_cast<float>(value));
  }
  const uint16_t bits = dtype == FB_FLOAT16 ? double_to_half(value) : double_to_bfloat(value);
  const float back = dtype == FB_FLOAT16 ? half_to_float(bits) : bfloat_to_float(bits);
  if (finite && !std::isfinite(back))
    throw Error(BAD_VALUE);
  put(at, bits);
}

void put_number(char *&at, fb_dtype dtype, std::string_view text) {
  if (is_real(dtype)) {
    const auto value = real_number(text);
    if (!value)
      throw Error(BAD_VALUE);
    return put_real(at, dtype, *value);
  }
  const auto value = whole_number(text);
  if (!value || (dtype == FB_BOOL && *value != 0 && *value != 1))
    throw Error(BAD_VALUE);
  switch (dtype) {
  case FB_INT8: return put_whole<int8_t>(at, *value);
  case FB_INT16: return put_whole<int16_t>(at, *value);
  case FB_INT32: return put_whole<int32_t>(at, *value);
  case FB_INT64: return put_whole<int64_t>(at, *value);
  case FB_UINT16: return put_whole<uint16_t>(at, *value);
  default: return put_whole<uint8_t>(at, *value);
  }
}

// Each ended by a NUL, which the client may leave away.
PayloadPtr read_strings(Arguments &arguments) {
  std::string all;
  while (!arguments.at_end()) {
    std::string_view text = view(arguments.next());
    if (!text.empty() && text.back() == '\0')
      text.remove_suffix(1);
    if (text.find('\0') != std::string_view::npos)
      throw Error("ERR C-string value contains null character");
    all.append(text).push_back('\0');
  }
  return copied(all);
}

PayloadPtr read_values(const Header &header, Arguments &arguments) {
  if (static_cast<size_t>(arguments.remaining()) != header.elements)
    throw Error("ERR wrong number of values was given in 'AI.TENSORSET' command");
  if (header.dtype == FB_STRING)
    return read_strings(arguments);
  Buffer buffer = Buffer::of(header.elements * size_of(header.dtype));
  char *at = buffer.data();
  while (!arguments.at_end())
    put_number(at, header.dtype, view(arguments.next()));
  return std::make_shared<Payload>(std::move(buffer));
}

PayloadPtr zeros(const Header &header) {
  const size_t bytes = header.elements * size_of(header.dtype);
  const auto most = static_cast<size_t>(settings().max_tensor_bytes);
  if (bytes > most)
    throw Error("ERR a tensor set without data may have at most " + std::to_string(most) + " bytes (MAX_TENSOR_BYTES), " +
                describe(header.dtype, header.shape) + " has " + std::to_string(bytes));
  return std::make_shared<Payload>(Buffer::zeros(bytes));
}

} // namespace

TensorPtr read_tensor(RedisModuleCtx *ctx, Arguments arguments) {
  if (arguments.count() < 4)
    wrong_arity("AI.TENSORSET");
  Header header = read_header(ctx, arguments);
  PayloadPtr payload;
  if (arguments.accept("BLOB"))
    payload = read_blob(header, arguments);
  else if (arguments.accept("VALUES"))
    payload = read_values(header, arguments);
  else
    payload = zeros(header);
  return make_tensor(header.dtype, std::move(header.shape), std::move(payload));
}

TensorFormat read_format(Arguments arguments) {
  if (arguments.count() < 2 || arguments.count() > 4)
    wrong_arity("AI.TENSORGET");
  arguments.skip(1);
  if (arguments.at_end())
    return {true, true, false};
  TensorFormat format;
  while (!arguments.at_end()) {
    if (arguments.accept("META"))
      format.meta = true;
    else if (arguments.accept("BLOB"))
      format.blob = true;
    else if (arguments.accept("VALUES"))
      format.values = true;
    else
      throw Error("ERR unsupported data format");
  }
  if (format.blob && format.values)
    throw Error("ERR both BLOB and VALUES specified");
  return format;
}

} // namespace fb
