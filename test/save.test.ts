// What stands where a file is saved to or loaded from: nothing of it may hang, be lost or be left behind.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  createWriteStream,
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
import { PassThrough, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { TransformStream, WritableStream } from 'node:stream/web';
import { createGzip, gunzipSync } from 'node:zlib';

import { nn } from '../src/index.js';
import { replaceFile, syncFileSystem } from '../src/serialization/file-node-replace.js';
import { runSync } from '../src/serialization/file.js';
import { load, loadSync } from '../src/serialization/load.js';
import { safetensorsPieces } from '../src/serialization/formats/safetensors/write.js';
import { save, saveSync, type SaveOptions } from '../src/serialization/save.js';
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

describe('the disk', () => {
  /** What is called, of the file system and in which order. */
  const callsOf = (options: SaveOptions | undefined, failing: Record<string, Error> = {}): string[] => {
    const calls: string[] = [];
    const names = new Map<number, string>();
    const recording = new Proxy(syncFileSystem, {
      get: (_, name: string) => (first: unknown, second: never, third: never) => {
        const what =
          names.get(first as number) ?? (String(first).endsWith('.tmp') ? 'temporary file' : String(first));
        calls.push(`${name} ${what}`);
        if (failing[calls.at(-1)!] !== undefined) throw failing[calls.at(-1)!];
        const result = syncFileSystem[name as 'open'](first as never, second, third);
        if (name === 'open') names.set(result as number, what);
        return result;
      },
    });
    runSync(
      replaceFile(
        recording,
        join(folder, 'model'),
        runSync(safetensorsPieces(state)),
        options?.flush ?? true,
      ),
    );
    return calls;
  };
  const failure = (code: string): Error => Object.assign(new Error(code), { code });

  test('has the file before it takes its name, and the name before save ends', () => {
    expect(callsOf(undefined).filter((call) => /^(fsync|rename|write)/.test(call))).toEqual([
      'write temporary file',
      'fsync temporary file',
      'rename temporary file',
      `fsync ${folder}`,
    ]);
    expect(callsOf({ flush: false }).filter((call) => call.startsWith('fsync'))).toEqual([]);
    expect(readdirSync(folder)).toEqual(['model']);
  });
  test.each(saving)('%s can be told not to wait', async (name) => {
    if (name === 'save') await save(state, join(folder, 'model'), { flush: false });
    else saveSync(state, join(folder, 'model'), { flush: false });
    expect([...loadSync(join(folder, 'model')).keys()]).toEqual(['weight']);
    await expect(save(state, join(folder, 'model'), { flush: 1 as never })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'flush should be a boolean, got 1',
    });
  });
  test('that cannot flush a folder is no reason to fail, one that is broken is', () => {
    for (const code of ['EACCES', 'EISDIR']) callsOf(undefined, { [`open ${folder}`]: failure(code) });
    callsOf(undefined, { [`fsync ${folder}`]: failure('EINVAL') });
    expect(() => callsOf(undefined, { [`fsync ${folder}`]: failure('EIO') })).toThrow('EIO');
  });
  test('that fails leaves the old file and nothing else', () => {
    saveSync(state, join(folder, 'model'));
    const before = readFileSync(join(folder, 'model'));
    for (const call of ['write', 'fsync', 'close', 'rename']) {
      const failing = { [`${call} temporary file`]: failure('ENOSPC') };
      expect(() => callsOf(undefined, failing)).toThrow('ENOSPC');
      expect(readFileSync(join(folder, 'model'))).toEqual(before);
      expect(readdirSync(folder)).toEqual(['model']);
    }
  });
  test('that has the file mounted by itself is named', () => {
    const busy = { 'rename temporary file': failure('EBUSY') };
    expect(() => callsOf(undefined, busy)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining('is a mount point or in use: mount its folder') as string,
      }) as Error,
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});

unix('a process that is killed', () => {
  // Each call of the file system in turn is the last: the process dies before it.
  const script = `
    const fs = require('node:fs');
    let calls = 0;
    let started = false;
    for (const name of ['open', 'fchmod', 'write', 'fsync', 'close', 'rename']) {
      for (const kind of [name, name + 'Sync']) {
        const original = fs[kind];
        fs[kind] = (...args) => {
          if (started && calls++ === Number(process.argv[1])) process.kill(process.pid, 'SIGKILL');
          return original(...args);
        };
        // By which promisify knows what it should return.
        for (const symbol of Object.getOwnPropertySymbols(original)) fs[kind][symbol] = original[symbol];
      }
    }
    const { save, saveSync, full } = require(${JSON.stringify(join(__dirname, '..'))});
    const large = new Map([['weight', full([2 ** 21], 2)]]);
    started = true;
    if (process.argv[2] === 'save') save(large, 'model').then(() => process.exit(7));
    else { saveSync(large, 'model'); process.exit(7); }`;
  test.each(saving)(
    'leaves the old file or the new one: %s',
    (name, to) => {
      const path = join(folder, 'model');
      const seen: number[] = [];
      for (let at = 0; ; at++) {
        saveSync([['weight', ones(3)]], path);
        const { status } = spawnSync(process.execPath, ['-e', script, String(at), name], { cwd: folder });
        const { data } = loadSync(path).get('weight')!;
        expect([3, 2 ** 21]).toContain(data.length);
        expect(data.every((value) => value === (data.length === 3 ? 1 : 2))).toBe(true);
        if (status !== null) {
          expect([status, at]).toEqual([7, seen.length]);
          break;
        }
        seen.push(data.length);
        saveSync(state, path);
        expect(readdirSync(folder)).toEqual(['model']);
      }
      // Up to the rename it is the old one.
      expect(seen.slice(0, 6)).toEqual(Array(6).fill(3));
      expect(seen.at(-1)).toBe(2 ** 21);
      void to;
    },
    60_000,
  );
});

describe('an open file', () => {
  test('is written from where it stands, and stays open', async () => {
    const handle = await open(join(folder, 'model'), 'w+');
    try {
      await handle.write('before');
      await save(state, handle);
      await save(state, handle, { flush: false });
      await handle.write('after');
    } finally {
      await handle.close();
    }
    saveSync(state, join(folder, 'alone'));
    const alone = readFileSync(join(folder, 'alone'));
    const parts = [Buffer.from('before'), alone, alone, Buffer.from('after')];
    expect(readFileSync(join(folder, 'model'))).toEqual(Buffer.concat(parts));
  });

  test('that answers nonsense is refused', async () => {
    for (const bytesWritten of [-1, 0, 1e9, NaN, '8', undefined]) {
      const liar = {
        write: () => Promise.resolve({ bytesWritten }),
        stat: () => undefined,
        sync: () => undefined,
      };
      await expect(save(state, liar as never)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining('target should write') as string,
      });
    }
  });

  unix('', () => {
    test('may be a pipe', async () => {
      execFileSync('mkfifo', [join(folder, 'pipe')]);
      const reader = spawn('cat', [join(folder, 'pipe')]);
      const read = buffer(reader.stdout);
      const handle = await open(join(folder, 'pipe'), 'w');
      await save([['large', zeros(2 ** 18)]], handle);
      await handle.close();
      expect(loadSync(await read).get('large')!.shape).toEqual([2 ** 18]);
    });
  });
});

describe('a stream', () => {
  const large = new Map([...state, ['large', ones(3 * 2 ** 20 + 5)]]);
  const expectLarge = (bytes: Uint8Array): void => {
    const loaded = loadSync(bytes);
    expect([...loaded.keys()]).toEqual(['weight', 'large']);
    expect(loaded.get('large')!.equal(large.get('large')!)).toBe(true);
  };

  test('of a file is written and ended', async () => {
    await save(large, createWriteStream(join(folder, 'model')));
    expectLarge(readFileSync(join(folder, 'model')));
  });
  test('may keep the pieces', async () => {
    const pass = new PassThrough({ highWaterMark: 2 ** 26 });
    await save(large, pass);
    expectLarge(await buffer(pass));
  });
  test('may change them', async () => {
    const zip = createGzip({ level: 1 });
    const [bytes] = await Promise.all([buffer(zip), save(large, zip)]);
    expectLarge(gunzipSync(bytes));
  });
  test('of the web takes them too', async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const [bytes] = await Promise.all([buffer(readable), save(large, writable)]);
    expectLarge(bytes);
  });

  test('is given no more than it takes', async () => {
    const waiting: (() => void)[] = [];
    const slow = new Writable({ write: (_, __, done) => void waiting.push(done) });
    const saved = save([['large', ones(2 ** 22)]], slow);
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(waiting.length).toBe(i + 1);
      expect(slow.writableLength).toBeLessThanOrEqual(2 ** 22);
      waiting[i]!();
    }
    await saved;
  });
  test('that takes all at once leaves the event loop its turns', async () => {
    let turns = 0;
    let pieces = 0;
    const timer = setInterval(() => turns++, 0);
    const quick = new Writable({ write: (_, __, done) => (pieces++, done()) });
    const counted = new Promise<number>((resolve) => {
      let immediates = 0;
      const next = (): unknown =>
        quick.writableFinished ? resolve(immediates) : (immediates++, setImmediate(next));
      setImmediate(next);
    });
    await save([['large', ones(2 ** 24)]], quick);
    clearInterval(timer);
    expect(pieces).toBe(17);
    expect(await counted).toBeGreaterThanOrEqual(pieces);
  });

  test('that fails is the error', async () => {
    const full = new Writable({ write: (_, __, done) => done(new Error('no space')) });
    await expect(save(large, full)).rejects.toThrow('no space');
    const closed = new Writable({ write: () => undefined });
    setTimeout(() => closed.destroy(), 20);
    await expect(save(large, closed)).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' });
    const abroad = new WritableStream({ write: () => Promise.reject(new Error('no web')) });
    await expect(save(large, abroad)).rejects.toThrow('no web');
  });
  test('is destroyed when the state fails, so that nobody takes a part for the whole', async () => {
    const lost = zeros(2 ** 21);
    const pass = new PassThrough();
    const read = buffer(pass);
    const saved = save([['lost', lost]], pass);
    structuredClone(lost.data, { transfer: [lost.data.buffer as ArrayBuffer] });
    await expect(saved).rejects.toMatchObject({ code: 'ERR_DETACHED' });
    await expect(read).rejects.toMatchObject({ code: 'ERR_DETACHED' });
  });
  test('that is over or taken is refused', async () => {
    const ended = new PassThrough();
    ended.end();
    const taken = new WritableStream();
    taken.getWriter();
    for (const stream of [ended, new PassThrough().destroy(), taken]) {
      await expect(save(state, stream)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringMatching(/can be written, but it (has ended|is locked)/) as string,
      });
    }
  });
});

test('a state of very many tensors is saved in many turns', () => {
  const count = 31_337;
  const many = new nn.StateDict();
  for (let i = 0; i < count; i++) many.set(`layers.${i}.weight`, i % 3 === 0 ? ones(1) : tensor([true]));
  for (let i = 0; i < 1000; i++) many.metadata.set(`layers.${i}`, { type: 'Linear', inFeatures: i });
  const steps = safetensorsPieces(many);
  let pauses = 0;
  let step = steps.next();
  for (; !step.done; step = steps.next(undefined)) pauses++;
  // Checked, laid out for each size of elements, and described.
  expect(pauses).toBeGreaterThan((6 * count) / 256);
  const pieces = Array.from(step.value, (piece) => Buffer.from(piece));
  expect(pieces.length).toBeGreaterThan(count / 256);
  const loaded = loadSync(Buffer.concat(pieces));
  expect([...loaded.keys()]).toEqual([...many.keys()]);
  expect(loaded.metadata).toEqual(many.metadata);
  expect([...loaded.values()].every(({ data }) => Number(data[0]) === 1)).toBe(true);
});

test('no piece of a file is large, however large a tensor is', () => {
  const large = new Tensor(new Float32Array(3 * 2 ** 20 + 5).fill(1), [3 * 2 ** 20 + 5]);
  const lengths = Array.from(
    runSync(safetensorsPieces([['large', large], ...state])),
    ({ length }) => length,
  );
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
