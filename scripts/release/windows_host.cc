// SPDX-License-Identifier: MIT
// Node-API on Windows, from the program that loads the addon, whatever its name is: node.exe,
// electron.exe, an application with Node in it. An import library would name one of them.
#include <windows.h>

// build.mjs writes that file, which has FUNCTION(name) for each function of Node-API. Calls of
// imported functions go through pointers of these names.
#define FUNCTION(name) extern "C" FARPROC __imp_##name = nullptr;
#include "node_api_names.inc"
#undef FUNCTION

namespace {

// When the addon is loaded, before Node asks anything of it.
__attribute__((constructor)) void find_functions() {
  HMODULE node = GetModuleHandleW(L"libnode.dll");  // where Node is a library of the program
  if (node == nullptr) node = GetModuleHandleW(nullptr);
#define FUNCTION(name) __imp_##name = GetProcAddress(node, #name);
#include "node_api_names.inc"
#undef FUNCTION
}

}  // namespace
