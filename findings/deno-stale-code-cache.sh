#!/usr/bin/env bash
# Expected: a runtime that keeps compiled code on the disk compiles a file again when its source has changed, as browsers
# and Node do.
# So it is: Deno 2.9 runs the old code of a CommonJS file of some size (90 kB here, not 9) if the new source has the
# same length, whatever its date. So after an update of a package, a file that differs only in the hash in another file's
# name asks for that name of before, and fails.
# Where it counts here: scripts/bundle.mjs names the files of dist/ without hashes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent @deno/linux-x64-glibc@2.9.6 >/dev/null
tar xzf ./*.tgz --strip-components=1 package/deno
export DENO_DIR=$folder/cache
echo '{}' >package.json
echo 'import lib from "./lib.cjs"; console.log(lib.word);' >app.mjs
library() {
  node -p "'exports.word = \"$1\";\n' + Array.from({ length: 3000 }, (_, i) => 'exports.f' + i + ' = () => ' + i).join('\n')" >lib.cjs
}
library old
for _ in 1 2 3; do ./deno run --allow-read --quiet app.mjs >/dev/null; done
library new
deno=$(./deno run --allow-read --quiet app.mjs)
echo "the file says new; node says $(node app.mjs), deno $deno, and $(rm -r cache && ./deno run --allow-read --quiet app.mjs) without its cache"
[ "$deno" = old ]
