#!/usr/bin/env bash
# Expected: memory that an addon reports by napi_adjust_external_memory is part of process.memoryUsage().external, whose
# documentation speaks of the memory of C++ objects bound to JavaScript objects. A service can then watch its models'
# weights there.
# So it is: the report changes neither `external` nor any figure of v8.getHeapStatistics(). V8 only counts it to decide
# when to collect garbage. `external` is the memory of ArrayBuffers. Native weights are seen in `rss` alone.
# Where it counts here: native/bindings/handle.h reports packed weights so that garbage is collected in time; the
# documentation says that they are seen in `rss`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-save node-addon-api@8.5.0 node-gyp@12.1.0 >/dev/null
cat >binding.gyp <<'GYP'
{ 'targets': [{ 'target_name': 'report', 'sources': ['report.cc'], 'defines': ['NAPI_DISABLE_CPP_EXCEPTIONS'],
                'include_dirs': ["<!@(node -p \"require('node-addon-api').include\")"] }] }
GYP
cat >report.cc <<'CC'
#include <napi.h>
static Napi::Value Report(const Napi::CallbackInfo& info) {
  const double bytes = info[0].As<Napi::Number>().DoubleValue();
  const int64_t total = Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<int64_t>(bytes));
  return Napi::Number::New(info.Env(), static_cast<double>(total));
}
static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("report", Napi::Function::New(env, Report));
  return exports;
}
NODE_API_MODULE(report, Init)
CC
npx node-gyp rebuild --silent >/dev/null
node - <<'JS'
const assert = require('node:assert');
const { report } = require('./build/Release/report.node');
const mb = (bytes) => Math.round(bytes / 2 ** 20);
const { external } = process.memoryUsage();
const statistics = require('node:v8').getHeapStatistics();
const total = report(16 * 2 ** 20);
const grown = process.memoryUsage().external - external;
const after = require('node:v8').getHeapStatistics();
console.log(`node ${process.version}: 16 MB reported, V8 answers ${mb(total)} MB; external grew by ${mb(grown)} MB, ` +
  `external_memory by ${mb(after.external_memory - statistics.external_memory)} MB`);
assert(total >= 16 * 2 ** 20 && grown < 2 ** 20 && after.external_memory - statistics.external_memory < 2 ** 20,
  'the behaviour has changed');
JS
