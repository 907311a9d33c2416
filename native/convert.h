// JS values <-> C++ values, and the one place where C++ errors become JS errors.
#pragma once
#include <napi.h>

#include <cstring>
#include <string>
#include <vector>

#include "backend.h"
#include "error.h"

namespace partlens {

inline Napi::Error js_error(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", code);
  return error;
}

// Runs a body at the N-API edge: whatever it throws becomes a JS exception with a code.
template <class Body>
auto guard(Napi::Env env, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& error) {
    throw js_error(env, error.code(), error.what());
  } catch (const std::bad_alloc&) {
    throw js_error(env, "E_MEMORY", "out of memory");
  } catch (const std::exception& error) {
    throw js_error(env, "E_INTERNAL", error.what());
  }
}

inline std::vector<int32_t> to_ints(const Napi::Value& value, const char* name) {
  check(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array,
        "E_ARGUMENT", std::string("[native] Expected an Int32Array for ") + name + ".");
  const auto array = value.As<Napi::Int32Array>();
  return std::vector<int32_t>(array.Data(), array.Data() + array.ElementLength());
}

inline int32_t to_int(const Napi::Value& value, const char* name) {
  check(value.IsNumber(), "E_ARGUMENT",
        std::string("[native] Expected a number for ") + name + ".");
  return value.As<Napi::Number>().Int32Value();
}

// Bytes of a Float32Array or Int32Array, copied.
inline std::vector<char> to_bytes(const Napi::Value& value, int32_t dtype, int64_t elements) {
  const napi_typedarray_type wanted = dtype == PL_F32 ? napi_float32_array : napi_int32_array;
  check(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == wanted, "E_DTYPE",
        dtype == PL_F32 ? "[native] Expected a Float32Array." : "[native] Expected an Int32Array.");
  const auto array = value.As<Napi::TypedArray>();
  check(static_cast<int64_t>(array.ElementLength()) == elements, "E_SHAPE",
        "[native] Expected " + std::to_string(elements) + " elements but received " +
            std::to_string(array.ElementLength()) + ".");
  const char* data = static_cast<const char*>(array.ArrayBuffer().Data()) + array.ByteOffset();
  return std::vector<char>(data, data + array.ByteLength());
}

inline Napi::Value from_bytes(Napi::Env env, int32_t dtype, const std::vector<char>& bytes) {
  const size_t elements = bytes.size() / 4;
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, bytes.size());
  if (!bytes.empty()) std::memcpy(buffer.Data(), bytes.data(), bytes.size());
  if (dtype == PL_F32) return Napi::Float32Array::New(env, elements, buffer, 0);
  return Napi::Int32Array::New(env, elements, buffer, 0);
}

}  // namespace partlens
