#!/usr/bin/env bash
# Expected: `fs.write` with a callback waits on another thread, as documented, so the event loop goes on meanwhile.
# So it is: in Deno 2.9 it writes on the event loop's thread. Where the reader of a full pipe is served by the same event
# loop (a child whose output the process reads), the process waits for itself for ever; Node and Bun end at once.
# Where it counts here: scripts/runtimes.mjs leaves out a test of `save`, and docs/runtimes.md warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent @deno/linux-x64-glibc@2.9.6 >/dev/null
tar xzf ./*.tgz --strip-components=1
mkfifo fifo
cat >write.cjs <<'JS'
const fs = require('node:fs');
const child = require('node:child_process').spawn('cat', ['fifo']);
let read = 0;
child.stdout.on('data', (bytes) => (read += bytes.length));
child.on('close', () => console.log(`${read} bytes read`));
fs.open('fifo', 'w', (_, fd) => fs.write(fd, Buffer.alloc(1 << 20), () => fs.closeSync(fd)));
JS
echo "node $(node --version): $(timeout 20 node write.cjs)"
status=0
timeout 20 ./deno run --allow-all --quiet write.cjs || status=$?
echo "deno: $([ $status = 124 ] && echo 'still waits after 20 s' || echo "status $status")"
[ $status = 124 ]
