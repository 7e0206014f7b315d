// Kills a process with SIGKILL at random moments while it saves, again and again. The file must hold one state whole: the
// last one whose save was over, or the one after it. The next save must remove what the killed one left. The seed
// determines what is saved and how long each process lives.
//
//   node scripts/kill-saves.mjs [--count 200] [--seed 1]

import { fork } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { full, loadSync, save, saveSync } from '../dist/index.mjs';

const stateOf = (version, elements) =>
  new Map(['first', 'second'].map((name) => [name, full([elements], version)]));

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    save: { type: 'string' },
    elements: { type: 'string' },
  },
});
if (values.save !== undefined) await saveForEver(values.save, Number(values.elements));
else await killOften(Number(values.count), Number(values.seed));

/** What is killed: saves version after version, and tells its parent which one is over. */
async function saveForEver(path, elements) {
  for (let version = 1; ; version++) {
    const state = stateOf(version, elements);
    if (version % 2 === 0) await save(state, path);
    else saveSync(state, path);
    process.send(version);
  }
}

async function killOften(count, seed) {
  const folder = mkdtempSync(join(tmpdir(), 'dynaquant-kill-'));
  const path = join(folder, 'weights');
  const moments = { 'while it wrote': 0, 'between the last byte and the rename': 0, 'at another moment': 0 };
  let next = seed;
  const random = () => (next = (next * 48271) % 2147483647) / 2147483647;
  for (let i = 0; i < count; i++) {
    // Small files are renamed most of the time, large ones written.
    const elements = i % 2 === 0 ? 100 : 2 ** 22;
    saveSync(stateOf(0, elements), path);
    const size = statSync(path).size;
    const over = await lifeOf(path, elements, random() * (i % 2 === 0 ? 50 : 500));

    const found = versionIn(path, elements);
    if (found !== over && found !== over + 1)
      throw new Error(`${path} has version ${found}, but ${over} was over`);
    const left = readdirSync(folder).filter((name) => name !== 'weights');
    const whole = left.length > 0 && statSync(join(folder, left[0])).size === size;
    const moment = whole ? 'between the last byte and the rename' : 'while it wrote';
    moments[left.length > 0 ? moment : 'at another moment']++;
    saveSync(stateOf(0, elements), path);
    if (readdirSync(folder).length !== 1)
      throw new Error(`${folder} has more than the file after the next save`);
  }
  rmSync(folder, { recursive: true });
  const parts = Object.entries(moments).map(([moment, times]) => `${times} ${moment}`);
  console.log(
    `${count} processes killed: ${parts.join(', ')}; each file was whole, and nothing was left behind`,
  );
}

/** Lets a process save for a while after its first save, kills it, and returns the last version that it told of. */
async function lifeOf(path, elements, milliseconds) {
  const child = fork(import.meta.filename, ['--save', path, '--elements', String(elements)]);
  let over = 0;
  child.on('message', (version) => (over = version));
  const ended = new Promise((resolve) => child.once('close', resolve));
  await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`the process ended by itself (${code})`)));
  });
  child.removeAllListeners('exit');
  await setTimeout(milliseconds);
  child.kill('SIGKILL');
  await ended;
  return over;
}

/** The version of which the file holds a whole state. */
function versionIn(path, elements) {
  const state = loadSync(path);
  const version = state.get('first').data[0];
  for (const name of ['first', 'second']) {
    const { data } = state.get(name);
    if (data.length !== elements || data.some((value) => value !== version))
      throw new Error(`${path} is of several versions`);
  }
  return version;
}
