#!/usr/bin/env bash
# Expected: what stands in an unnamed namespace is a file's own. So two files of an addon may each have a function `get`
# there and hand it to a template, as node-addon-api's InstanceMethod<&Class::method> is one.
# So it is with clang. With gcc (12 at least), where the argument of the template is a method that is itself a template
# over such a function, the wrapper has a name that both files share: the linker keeps one, without a warning, and the
# methods of both classes run the function of the first file.
# Where it counts here: native/bindings/handle.h, whose kinds have methods over functions of several files. The functions
# have different names.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-save node-addon-api@8.5.0 node-gyp@12.1.0 >/dev/null
cat >binding.gyp <<'GYP'
{ 'targets': [{ 'target_name': 'merged', 'sources': ['first.cc', 'second.cc'],
                'defines': ['NAPI_DISABLE_CPP_EXCEPTIONS'], 'cflags': ['-Wall', '-Wextra'],
                'include_dirs': ["<!@(node -p \"require('node-addon-api').include\")"] }] }
GYP
cat >handle.h <<'CC'
#include <napi.h>
struct Handle : Napi::ObjectWrap<Handle> {
  explicit Handle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Handle>(info) {}
  template <int (*function)()>
  Napi::Value call(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), function()); }
};
CC
cat >second.cc <<'CC'
#include "handle.h"
namespace { int get() { return 2; } }
Napi::Function second(Napi::Env env) {
  return Handle::DefineClass(env, "Second", {Handle::InstanceMethod<&Handle::call<get>>("get")});
}
CC
cat >first.cc <<'CC'
#include "handle.h"
namespace { int get() { return 1; } }
Napi::Function second(Napi::Env env);
static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("First", Handle::DefineClass(env, "First", {Handle::InstanceMethod<&Handle::call<get>>("get")}));
  exports.Set("Second", second(env));
  return exports;
}
NODE_API_MODULE(merged, Init)
CC
answers() {
  CXX=$1 npx node-gyp rebuild --silent 2>&1 | { grep -i 'warning' || true; }
  node -p "const { First, Second } = require('./build/Release/merged.node');
    ['$1: methods of First and Second give', new First().get(), new Second().get()].join(' ')"
}
g++ --version | head -1
found=$(answers g++)
echo "$found"
[ "$found" = 'g++: methods of First and Second give 1 1' ] || { echo 'the behaviour has changed'; exit 1; }
if command -v clang++ >/dev/null; then
  clang++ --version | head -1
  found=$(answers clang++)
  echo "$found"
  [ "$found" = 'clang++: methods of First and Second give 1 2' ] || { echo 'the behaviour has changed'; exit 1; }
fi
