// Saves and loads a state dict of 10 GiB, of which one tensor has 6, and measures the memory that it takes over the
// tensors: at most 64 MB. What is saved is sparse, pages of zeros that take no memory; what is loaded takes 10 GiB. Needs
// Linux, 10 GiB on the disk of the temporary folder and 12 GiB of free memory.
//
//   node scripts/save-large.mjs [--gib 10]

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { parseArgs } from 'node:util';

import { load, loadSync, save, saveSync, Tensor } from '../dist/index.mjs';

const { values } = parseArgs({
  options: { gib: { type: 'string', default: '10' }, task: { type: 'string' }, path: { type: 'string' } },
});
const gib = 2 ** 30;
const size = Number(values.gib) * gib;
const mostMegabytes = 64;

/** Three tensors of 60, 20 and 20 %, with a number on each side of every GiB. */
const shares = { large: 0.6, second: 0.2, third: 0.2 };
const elementsOf = (name) => Math.round((size * shares[name]) / 4);
function* marks(elements) {
  for (let i = 0; i < elements; i += gib / 4) {
    if (i > 0) yield i - 1;
    yield i;
  }
  yield elements - 1;
}
function sparseState() {
  return new Map(
    Object.keys(shares).map((name) => {
      const elements = elementsOf(name);
      const data = new Float32Array(elements);
      for (const i of marks(elements)) data[i] = i + 1;
      return [name, new Tensor(data, [elements])];
    }),
  );
}
function check(state) {
  for (const name of Object.keys(shares)) {
    const { data } = state.get(name);
    const marked = new Set(marks(elementsOf(name)));
    let right = data.length === elementsOf(name);
    for (const i of marked) right &&= data[i] === Math.fround(i + 1);
    // Every page has one of these.
    for (let i = 511; i < data.length; i += 1024) right &&= marked.has(i) || data[i] === 0;
    if (!right) throw new Error(`${name} is not what was saved`);
  }
}

/** Megabytes, of this process. */
const memory = (field) =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const resetPeak = () => writeFileSync('/proc/self/clear_refs', '5');

const nowhere = () => new Writable({ write: (_, __, done) => done() });
const tasks = {
  save: (path) => save(sparse, path),
  saveSync: (path) => saveSync(sparse, path),
  'save to a stream': () => save(sparse, nowhere()),
  load,
  loadSync,
};
const { task, path } = values;
const sparse = task?.startsWith('save') ? sparseState() : undefined;

if (task === undefined) measureAll();
else await measure();

function measureAll() {
  const free = Number(/MemAvailable:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))[1]) * 1024;
  if (free < size + 2 * gib) throw new Error(`${(free / gib).toFixed(1)} GiB of memory are free: too few`);
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-large-'));
  const target = join(folder, 'weights');
  try {
    for (const name of Object.keys(tasks)) {
      const args = [import.meta.filename, '--gib', values.gib, '--task', name, '--path', target];
      execFileSync(process.execPath, args, { stdio: 'inherit' });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Does one task in this process. */
async function measure() {
  const before = memory('VmRSS');
  resetPeak();
  let pause = 0;
  let last = performance.now();
  const turn = () => {
    const now = performance.now();
    pause = Math.max(pause, now - last);
    last = now;
    turns = setImmediate(turn);
  };
  let turns = setImmediate(turn);
  const start = performance.now();
  const result = await tasks[task](path);
  const seconds = (performance.now() - start) / 1000;
  clearImmediate(turns);
  const over = memory('VmHWM') - before - (sparse === undefined ? size / 2 ** 20 : 0);
  if (sparse === undefined) check(result);
  else if (statSync(path).size < size) throw new Error('the file is too small');
  const turned = task.endsWith('Sync') ? '' : `, longest turn of the event loop ${pause.toFixed(1)} ms`;
  console.log(`${task}: ${seconds.toFixed(1)} s, ${over.toFixed(1)} MB over the tensors${turned}`);
  if (over > mostMegabytes) throw new Error(`at most ${mostMegabytes} MB are allowed`);
}
