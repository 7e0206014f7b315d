import { mkdtempSync, openAsBlob, promises, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { load, loadSync } from '../src/serialization/load.js';
import { saveSync } from '../src/serialization/save.js';
import { tensor, zeros } from '../src/tensor/index.js';

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'w.safetensors');
saveSync(new Map([['w', tensor([1, 2, 3])]]), path);
const bytes = readFileSync(path);
const buffer = new Uint8Array(bytes).buffer;
const shared = new SharedArrayBuffer(bytes.length);
new Uint8Array(shared).set(bytes);

describe('load takes', () => {
  test.each<[string, () => Parameters<typeof load>[0] | Promise<Blob>]>([
    ['an ArrayBuffer', () => buffer],
    ['a SharedArrayBuffer', () => shared],
    ['a Blob', () => new Blob([bytes])],
    ['a File', () => new File([bytes], 'w.safetensors')],
    ['a Blob of a file', () => openAsBlob(path)],
    ['a Response', () => new Response(bytes)],
  ])('%s', async (_, source) => {
    const given = await source();
    expect([...(await load(given)).get('w')!.data]).toEqual([1, 2, 3]);
    if (given === buffer || given === shared) {
      expect([...loadSync(given).get('w')!.data]).toEqual([1, 2, 3]);
    } else {
      expect(() => loadSync(given as never)).toThrow(
        /^source is a (Blob|File|Response), which takes time to read: use await load\(source\)$/,
      );
    }
  });
  test('what fetch gives', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/w') response.end(bytes);
      else response.writeHead(404, 'Not Found').end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const response = await fetch(`${url}/w`);
      expect([...(await load(response)).get('w')!.data]).toEqual([1, 2, 3]);
      await expect(load(response)).rejects.toThrow(/a response whose body has been read already/);
      await expect(load(await fetch(`${url}/v`))).rejects.toThrow(
        'source is a response with status 404 Not Found',
      );
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
  test('only the parts of a Blob that it needs', async () => {
    const large = new Map([
      ['a', zeros(2 ** 21)],
      ['b', tensor([7])],
    ]);
    saveSync(large, path);
    const blob = await openAsBlob(path);
    const sizes: number[] = [];
    const watched = Object.assign(new Blob([]), {
      slice: (begin: number, end: number) => {
        sizes.push(end - begin);
        return blob.slice(begin, end);
      },
    });
    Object.defineProperty(watched, 'size', { value: blob.size });
    expect([...(await load(watched)).get('b')!.data]).toEqual([7]);
    expect(Math.max(...sizes)).toBe(2 ** 22);
  });
});

describe('load refuses', () => {
  test.each<[string, unknown, RegExp]>([
    [
      'an address',
      'https://example.org/w.safetensors',
      /^path is an address of the web, 'https:.*': use await load\(await fetch\(url\)\)$/,
    ],
    ['a URL of the web', new URL('http://example.org/w'), /use await load\(await fetch\(url\)\)$/],
    [
      'a stream',
      new Blob([bytes]).stream(),
      /^source should be a path, .* got ReadableStream; a stream goes as new Response\(stream\)$/,
    ],
    ['what is not awaited', Promise.resolve(bytes), /^source should be a path, .* got Promise$/],
    [
      'what only says that it is a buffer',
      { [Symbol.toStringTag]: 'ArrayBuffer' },
      /^source should be a path/,
    ],
    ['what only says that it is a Blob', { [Symbol.toStringTag]: 'Blob' }, /^source should be a path/],
  ])('%s', async (_, source, message) => {
    expect(() => loadSync(source as never)).toThrow(message);
    await expect(load(source as never)).rejects.toThrow(message);
  });
  test('a detached ArrayBuffer', async () => {
    const detached = new ArrayBuffer(8);
    structuredClone(detached, { transfer: [detached] });
    expect(() => loadSync(detached)).toThrow(expect.objectContaining({ code: 'ERR_DETACHED' }));
    await expect(load(detached)).rejects.toMatchObject({ code: 'ERR_DETACHED' });
  });
  test('a handle, where it cannot wait', async () => {
    writeFileSync(path, bytes);
    const handle = await promises.open(path);
    expect(() => loadSync(handle as never)).toThrow(/^source is a FileHandle, .*: use await load\(source\)$/);
    await handle.close();
  });
});
