#!/usr/bin/env bash
# Expected: `"gypfile": false` in package.json says to every package manager that binding.gyp is not to be built when the
# package is installed, because npm documents it so.
# So it is: npm obeys it. Yarn 1, and Yarn 4 with `enableScripts` (the default of 4.9, not of 4.18), run `node-gyp rebuild` wherever
# a binding.gyp lies beside package.json, and `yarn add` fails where that fails. Only an `install` script keeps them from
# it, or another place of the file.
# Where it counts here: scripts/release/build.mjs puts the sources, and the file, into an archive in the package.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir package
echo '{ "name": "prebuilt", "version": "1.0.0", "gypfile": false }' >package/package.json
echo 'no gyp, so that a build fails' >package/binding.gyp
tar czf prebuilt.tgz package
npm install --silent --no-save --prefix tools yarn@1.22.22 @yarnpkg/cli-dist@4.18.1 >/dev/null

for tool in npm yarn1 yarn4; do
  mkdir "$tool"
  echo '{ "private": true }' >"$tool/package.json"
done
attempt() { if (cd "$1" && "${@:2}") >"$1.log" 2>&1; then echo installs; else echo fails; fi; }
touch yarn4/yarn.lock
printf 'enableScripts: true\nenableTelemetry: false\nnodeLinker: node-modules\n' >yarn4/.yarnrc.yml
npm=$(attempt npm npm install --no-audit ../prebuilt.tgz)
yarn1=$(attempt yarn1 node ../tools/node_modules/yarn/bin/yarn.js add ../prebuilt.tgz --cache-folder "$folder/cache")
yarn4=$(attempt yarn4 node ../tools/node_modules/@yarnpkg/cli-dist/bin/yarn.js add prebuilt@file:../prebuilt.tgz)
grep -q "node-gyp" yarn1.log
echo "npm $npm; Yarn 1.22 $yarn1; Yarn 4.18 with enableScripts $yarn4"
[ "$npm $yarn1 $yarn4" = 'installs fails fails' ]
