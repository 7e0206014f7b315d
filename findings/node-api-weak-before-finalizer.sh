#!/usr/bin/env bash
# Expected: an addon's finalizer runs when its object is collected, so a loop that makes and drops native objects, of
# which it tells V8, stays small. Or, if Node delays finalizers, nobody can know earlier which objects are gone.
# So it is: finalizers of addons (but for those of Node-API's experimental version) run only after the present turn of
# the event loop, however many objects were collected in it. But the collector clears weak references at once:
# napi_get_reference_value gives nothing any more, still in the same turn. So an addon can free what it held for them.
# Where it counts here: native/bindings/environment.{h,cc}, whose list of handles is swept when new weights are packed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-save node-addon-api@8.5.0 node-gyp@12.1.0 >/dev/null
cat >binding.gyp <<'GYP'
{ 'targets': [{ 'target_name': 'weak', 'sources': ['weak.cc'], 'defines': ['NAPI_DISABLE_CPP_EXCEPTIONS'],
                'include_dirs': ["<!@(node -p \"require('node-addon-api').include\")"] }] }
GYP
cat >weak.cc <<'CC'
#include <napi.h>
#include <vector>
struct Thing : Napi::ObjectWrap<Thing> {
  explicit Thing(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Thing>(info) {
    things.push_back(this);
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), 4 << 20);
  }
  ~Thing() { ++finalized; }
  static std::vector<Thing*> things;
  static int finalized;
};
std::vector<Thing*> Thing::things;
int Thing::finalized = 0;
// [collected, finalized]; only to be called before anything is finalized
static Napi::Value Count(const Napi::CallbackInfo& info) {
  int collected = 0;
  if (Thing::finalized == 0) for (Thing* thing : Thing::things) collected += thing->Value().IsEmpty();
  Napi::Array result = Napi::Array::New(info.Env());
  result[0u] = Napi::Number::New(info.Env(), collected);
  result[1u] = Napi::Number::New(info.Env(), Thing::finalized);
  return result;
}
static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Thing", Thing::DefineClass(env, "Thing", {}));
  exports.Set("count", Napi::Function::New(env, Count));
  return exports;
}
NODE_API_MODULE(weak, Init)
CC
npx node-gyp rebuild --silent >/dev/null
node - <<'JS'
const assert = require('node:assert');
const { Thing, count } = require('./build/Release/weak.node');
for (let i = 0; i < 200; i++) new Thing();
const [collected, finalized] = count();
setTimeout(() => {
  const [, later] = count();
  console.log(`node ${process.version}: in the turn that made 200 objects ${collected} were collected and ` +
    `${finalized} finalized; a turn later ${later} were finalized`);
  assert(collected > 100 && finalized === 0 && later >= collected, 'the behaviour has changed');
}, 50);
JS
