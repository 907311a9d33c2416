// JS values <-> C++ values, and the one place where C++ errors become JS errors.
#pragma once
#include <napi.h>

#include <cstring>
#include <string>
#include <vector>

#include "backend.h"
#include "error.h"
#include "host_memory.h"

namespace partlens {

inline Napi::Error js_error(Napi::Env env, const Error& from) {
  Napi::Error error = Napi::Error::New(env, from.what());
  error.Value().Set("code", from.code());
  auto details = Napi::Object::New(env);
  for (const auto& [name, value] : from.details()) details.Set(name, value);
  error.Value().Set("details", details);
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
    throw js_error(env, error);
  } catch (const std::bad_alloc&) {
    throw js_error(env, Error("E_MEMORY", "[native] Out of memory."));
  } catch (const std::exception& error) {
    throw js_error(env, Error("E_INTERNAL", error.what()));
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

// Bytes of a Float32Array or Int32Array, copied to where the backend copies them fastest.
inline HostMemory to_bytes(const PlBackend& backend, const Napi::Value& value, int32_t dtype,
                           int64_t elements) {
  const napi_typedarray_type wanted = dtype == PL_F32 ? napi_float32_array : napi_int32_array;
  check(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == wanted, "E_DTYPE",
        dtype == PL_F32 ? "[native] Expected a Float32Array." : "[native] Expected an Int32Array.");
  const auto array = value.As<Napi::TypedArray>();
  check(static_cast<int64_t>(array.ElementLength()) == elements, "E_SHAPE",
        "[native] Expected " + std::to_string(elements) + " elements but received " +
            std::to_string(array.ElementLength()) + ".",
        {{"expected", static_cast<double>(elements)},
         {"received", static_cast<double>(array.ElementLength())}});
  // Of a SharedArrayBuffer too, which Napi::ArrayBuffer refuses.
  void* memory = nullptr;
  napi_get_typedarray_info(value.Env(), value, nullptr, nullptr, &memory, nullptr, nullptr);
  HostMemory copy(backend, array.ByteLength());
  if (copy.bytes() > 0) std::memcpy(copy.data(), memory, copy.bytes());
  return copy;
}

inline Napi::Value from_bytes(Napi::Env env, int32_t dtype, const HostMemory& memory) {
  const size_t elements = memory.bytes() / 4;
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, memory.bytes());
  if (memory.bytes() > 0) std::memcpy(buffer.Data(), memory.data(), memory.bytes());
  if (dtype == PL_F32) return Napi::Float32Array::New(env, elements, buffer, 0);
  return Napi::Int32Array::New(env, elements, buffer, 0);
}

}  // namespace partlens
