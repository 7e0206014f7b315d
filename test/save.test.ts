// What stands where a file is saved to or loaded from: nothing of it may hang, be lost or be left behind.
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

import { load, loadSync } from '../src/serialization/load.js';
import { safetensorsPieces } from '../src/serialization/formats/safetensors/write.js';
import { save, saveSync } from '../src/serialization/save.js';
import { ones, Tensor, tensor, zeros } from '../src/tensor/index.js';

const state = new Map([['weight', tensor([1, 2])]]);
const saving: [string, (path: string) => unknown][] = [
  ['save', (path) => save(state, path)],
  ['saveSync', (path) => Promise.resolve().then(() => saveSync(state, path))],
];
const loading: [string, (path: string) => unknown][] = [
  ['load', (path) => load(path)],
  ['loadSync', (path) => Promise.resolve().then(() => loadSync(path))],
];
let folder: string;
let server: Server;
beforeAll(async () => {
  const sockets = mkdtempSync(join(tmpdir(), 'dynaquant-save-'));
  server = createServer();
  await new Promise<void>((done) => server.listen(join(sockets, 'socket'), done));
  execFileSync('mkfifo', [join(sockets, 'fifo')]);
  mkdirSync(join(sockets, 'folder'));
  symlinkSync('fifo', join(sockets, 'link'));
  special = {
    'a FIFO': join(sockets, 'fifo'),
    'a link to a FIFO': join(sockets, 'link'),
    'a socket': join(sockets, 'socket'),
    'a directory': join(sockets, 'folder'),
    'a device': '/dev/zero',
  };
});
afterAll(() => {
  server.close();
  rmSync(join(special['a FIFO']!, '..'), { recursive: true });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dynaquant-save-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

let special: Record<string, string>;
const kinds = ['a FIFO', 'a link to a FIFO', 'a socket', 'a directory', 'a device'];
const unix = process.platform === 'win32' ? describe.skip : describe;

unix.each(kinds)('%s', (kind) => {
  const said = kind.replace('a link to ', '');
  test.each(loading)('%s refuses it at once', async (_, from) => {
    const message = expect.stringContaining(`is no regular file, but ${said}`) as string;
    await expect(from(special[kind]!)).rejects.toMatchObject({ code: 'ERR_CHECKPOINT', message });
  });
  test.each(saving)('%s refuses to replace it', async (_, to) => {
    const before = lstatSync(special[kind]!).ino;
    const message = expect.stringContaining(`is ${said}`) as string;
    await expect(to(special[kind]!)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE', message });
    expect(lstatSync(special[kind]!).ino).toBe(before);
  });
});

unix('links', () => {
  test.each(saving)('%s replaces what they lead to', async (_, to) => {
    mkdirSync(join(folder, 'a', 'b'), { recursive: true });
    symlinkSync(join('a', 'b'), join(folder, 'short'));
    symlinkSync('../model', join(folder, 'a', 'b', 'up')); // from `b`, whatever name that has
    symlinkSync(join('short', 'up'), join(folder, 'link'));
    writeFileSync(join(folder, 'a', 'model'), 'old');
    for (const content of ['old', 'none']) {
      if (content === 'none') rmSync(join(folder, 'a', 'model'));
      await to(join(folder, 'link'));
      expect(readlinkSync(join(folder, 'link'))).toBe(join('short', 'up'));
      expect([...loadSync(join(folder, 'a', 'model')).keys()]).toEqual(['weight']);
    }
    expect(readdirSync(folder).sort()).toEqual(['a', 'link', 'short']);
    expect(readdirSync(join(folder, 'a')).sort()).toEqual(['b', 'model']);
  });

  test.each(saving)('%s refuses those without an end', async (_, to) => {
    symlinkSync('b', join(folder, 'a'));
    symlinkSync('a', join(folder, 'b'));
    await expect(to(join(folder, 'a'))).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });
});

unix('the mode', () => {
  test.each(saving)('%s keeps it', async (_, to) => {
    const path = join(folder, 'model');
    for (const mode of [0o600, 0o640, 0o444]) {
      writeFileSync(path, '');
      chmodSync(path, mode);
      await to(path);
      expect(statSync(path).mode & 0o777).toBe(mode);
      rmSync(path);
    }
    await to(path);
    expect(statSync(path).mode & 0o777).toBe(0o666 & ~process.umask());
  });
});

describe('names', () => {
  test.each([...saving, ...loading])('%s takes none that is empty', async (_, call) => {
    await expect(call('')).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });
  test.each(saving)('%s takes all that the file system takes', async (_, to) => {
    for (const name of ['x'.repeat(255), `x${'é'.repeat(127)}`, '量'.repeat(85)]) {
      for (let times = 0; times < 2; times++) await to(join(folder, name));
      expect(readdirSync(folder)).toEqual([name]);
      rmSync(join(folder, name));
    }
  });
});

describe('what killed saves left', () => {
  const host = hostname()
    .replace(/[^a-z0-9]/gi, '_')
    .slice(0, 40);
  const leave = (name: string, hoursAgo = 0): string => {
    const path = join(folder, name);
    writeFileSync(path, 'left');
    const time = Date.now() / 1000 - hoursAgo * 3600;
    utimesSync(path, time, time);
    return name;
  };
  const startOfProcess = (): number => process.uptime() / 3600 + 0.01;

  test.each(saving)('%s removes it, and nothing else', async (_, to) => {
    const gone = spawn(process.execPath, ['-e', '']);
    await new Promise((done) => gone.on('exit', done));
    leave(`.model.dynaquant-${host}-${gone.pid}-abc.tmp`);
    leave(`.model.dynaquant-${host}-${process.pid}-abc.tmp`, startOfProcess());
    leave(`.model.dynaquant-elsewhere-1-abc.tmp`, 25);
    const stays = [
      leave(`.model.dynaquant-${host}-${process.pid}-def.tmp`),
      leave(`.model.dynaquant-${host}-${process.ppid}-abc.tmp`, 1),
      leave(`.model.dynaquant-elsewhere-${gone.pid}-abc.tmp`, 1),
      leave(`.other.dynaquant-${host}-${gone.pid}-abc.tmp`, 100),
      leave(`.model.dynaquant-notes`, 100),
      leave('model.tmp', 100),
    ];
    await to(join(folder, 'model'));
    expect(readdirSync(folder).sort()).toEqual([...stays, 'model'].sort());
  });

  test('is known by its name', async () => {
    const script = `const d = require(${JSON.stringify(join(__dirname, '..'))});
      d.save({ *[Symbol.iterator]() { yield ['w', d.zeros(2 ** 23)]; } }, 'model');
      setInterval(() => { if (require('fs').readdirSync('.').length) process.kill(process.pid, 'SIGKILL'); }, 0);`;
    const child = spawn(process.execPath, ['-e', script], { cwd: folder, stdio: 'inherit' });
    await new Promise((done) => child.on('exit', done));
    saveSync(state, join(folder, 'model'));
    expect(readdirSync(folder)).toEqual(['model']);
  });
});

test('no piece of a file is large, however large a tensor is', () => {
  const large = new Tensor(new Float32Array(3 * 2 ** 20 + 5).fill(1), [3 * 2 ** 20 + 5]);
  const lengths = Array.from(safetensorsPieces([['large', large], ...state]), (piece) => piece.length);
  expect(Math.max(...lengths)).toBe(2 ** 22);
  expect(lengths.reduce((a, b) => a + b)).toBeGreaterThan(12 * 2 ** 20);
  saveSync([['large', large], ...state], join(folder, 'model'));
  const loaded = loadSync(join(folder, 'model'));
  expect(loaded.get('large')!.equal(large)).toBe(true);
  expect(loaded.get('weight')!.toArray()).toEqual([1, 2]);
});

test('a tensor that is detached while it is saved leaves the old file', async () => {
  const path = join(folder, 'model');
  saveSync(state, path);
  const before = readFileSync(path);
  const lost = zeros(2 ** 21);
  const saved = save([['lost', lost]], path);
  structuredClone(lost.data, { transfer: [lost.data.buffer as ArrayBuffer] });
  await expect(saved).rejects.toMatchObject({ code: 'ERR_DETACHED' });
  expect(readFileSync(path)).toEqual(before);
  expect(readdirSync(folder)).toEqual(['model']);
});

test('a missing part of an index is named', async () => {
  const index = { weight_map: { a: 'one.safetensors', b: 'two.safetensors' } };
  const path = join(folder, 'model.safetensors.index.json');
  writeFileSync(path, JSON.stringify(index));
  saveSync([['a', ones(1)]], join(folder, 'one.safetensors'));
  const refused = { code: 'ERR_CHECKPOINT', message: expect.stringContaining(`'two.safetensors'`) as string };
  for (const [, from] of loading) await expect(from(path)).rejects.toMatchObject(refused);
});

test('a handle that answers nonsense is refused', async () => {
  saveSync(state, join(folder, 'model'));
  const handle = await open(join(folder, 'model'));
  try {
    for (const bytesRead of [-1, 0, 1e9, NaN, '8', undefined]) {
      const liar = { stat: () => handle.stat(), read: () => Promise.resolve({ bytesRead }) };
      await expect(load(liar as never)).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' });
    }
    const statless = { stat: () => Promise.resolve(undefined), read: () => undefined };
    await expect(load(statless as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  } finally {
    await handle.close();
  }
  expect(existsSync(join(folder, 'model'))).toBe(true);
});
