'use strict';
// Runs where a release's packages are installed, on every machine that release:check has: what users do first.
// Prints JSON. The same figures come from every machine.
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const {
  getNumThreads,
  loadSync,
  manualSeed,
  nn,
  quantization,
  randn,
  saveSync,
  setNumThreads,
} = require('dynaquant');

const bytes = (tensor) =>
  Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength).toString('hex');
function model() {
  manualSeed(0);
  return [quantization.quantizeDynamic(new nn.LSTM(96, 128)), randn(20, 8, 96)];
}
function forward() {
  const [lstm, x] = model();
  return bytes(lstm.forward(x)[0]);
}

async function main() {
  const expected = forward();
  const failures = [];
  const check = (what, actual) => actual === expected || failures.push(what);

  setNumThreads(4);
  check('four threads', forward());
  const [lstm, x] = model();
  const both = await Promise.all([lstm.forwardAsync(x), lstm.forwardAsync(x)]);
  for (const [y] of both) check('forwardAsync', bytes(y));
  setNumThreads(1);

  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-machine-'));
  const file = join(folder, 'model');
  saveSync(lstm.stateDict(), file);
  const loaded = quantization.quantizeDynamic(new nn.LSTM(96, 128));
  loaded.loadStateDict(loadSync(file));
  check('save and load', bytes(loaded.forward(x)[0]));
  rmSync(folder, { recursive: true });

  const workers = Array.from({ length: 3 }, () => new Worker(__filename));
  const results = await Promise.all(
    workers.map(
      (worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)),
    ),
  );
  for (const result of results) check('a worker', result);
  const { platform, arch, version } = process;
  console.log(
    JSON.stringify({ platform, arch, version, threads: getNumThreads(), expected: hash(expected), failures }),
  );
}

function hash(text) {
  return require('node:crypto').createHash('sha256').update(text).digest('hex');
}

if (isMainThread) void main();
else parentPort.postMessage(forward());
