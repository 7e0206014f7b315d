// SPDX-License-Identifier: MIT
// What the C++ library asks of its platform, for a module that imports nothing but Node-API.
#include <chrono>
#include <cstdlib>

// The tag under which WebAssembly throws C++ exceptions.
__asm__(
    ".tagtype __cpp_exception i32\n"
    ".globl __cpp_exception\n"
    "__cpp_exception:\n");

extern "C" {

// Destroys a thread's variables when it ends, which the only one does not.
int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }

// There is nowhere to write the message to.
[[noreturn]] void __abort_message(const char*, ...) { std::abort(); }

// Of emnapi: milliseconds.
double _emnapi_get_now();

}  // extern "C"

_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char*, ...) noexcept { std::abort(); }
namespace chrono {
steady_clock::time_point steady_clock::now() noexcept {
  return time_point(duration(static_cast<rep>(_emnapi_get_now() * 1e6)));
}
}  // namespace chrono
_LIBCPP_END_NAMESPACE_STD
