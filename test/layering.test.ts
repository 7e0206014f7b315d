import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const root = join(__dirname, '..');

function files(folder: string, pattern: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => pattern.test(file))
    .map((file) => join(folder, file));
}
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

describe('native', () => {
  const includesOf = (file: string): string[] =>
    Array.from(read(file).matchAll(/^#include [<"](.+)[>"]/gm), (match) => match[1]!);
  const allowed: [folder: string, includes: RegExp][] = [
    // C headers, intrinsics, and what lies beside; nothing of std but in the baseline's own files.
    [
      'native/kernels',
      /^((stdint|stddef|string|math|immintrin|cpuid|intrin|arm_neon|wasm_simd128|windows)\.h|sys\/(auxv|syscall|sysctl)\.h|[a-z0-9_]+(\.inl)?\.h|simd\/.*\.h)$/,
    ],
    // Systems tell about CPUs, processes and pages in headers of their own.
    [
      'native/engine',
      /^(c?[a-z_]+|(sched|unistd|windows|sys\/(mman|syscall))\.h|engine\/.*\.h|kernels\/(kernels|panels)\.h)$/,
    ],
    [
      'native/bindings',
      /^(napi\.h|[a-z_]+|(bindings|engine)\/.*\.h|kernels\/(kernels|dispatch|choose_params)\.h)$/,
    ],
  ];
  test.each(allowed)('%s includes nothing above it', (folder, pattern) => {
    const sources = files(folder, /\.(h|cc)$/);
    expect(sources.length).toBeGreaterThan(3);
    for (const file of sources) {
      for (const include of includesOf(file))
        expect([file, include]).toEqual([file, expect.stringMatching(pattern)]);
    }
  });
  test('only bindings and addon.cc know Node-API, only kernels know instruction sets', () => {
    for (const file of files('native', /\.(h|cc)$/)) {
      const text = read(file);
      if (!/bindings|addon\.cc|wasm\/runtime/.test(file))
        expect([file, text]).not.toEqual([file, expect.stringMatching(/napi/i)]);
      if (!/kernels/.test(file))
        expect([file, text]).not.toEqual([file, expect.stringMatching(/_mm\d|__AVX|arm_neon/)]);
    }
  });
});

describe('TypeScript', () => {
  // The rooms from the ground up; a file may import from its own room and those before it.
  const rooms: RegExp[] = [
    /^src\/((errors|async-options|garbage|threads|turn)|native\/(handles|addon|no-binary|call(-[a-z]+)?))\.ts$/,
    /^src\/tensor\//,
    /^src\/random\.ts$/,
    /^src\/nn\/(?!catalogue)((utils|functional)\/)?[^/]+\.ts$/,
    /^src\/nn\/quantized\/(?!catalogue)/,
    /^src\/nn\/(quantized\/)?catalogue\.ts$/,
    /^src\/nn\/streams\//,
    /^src\/quantization\//,
    /^src\/serialization\//,
    /^src\/index\.m?ts$/,
    /^src\/web\//,
    /^src\/cli\//,
  ];
  const roomOf = (file: string): number => rooms.findIndex((pattern) => pattern.test(file));
  const sources = files('src', /\.m?ts$/);

  test('what only Node has is known to few files', () => {
    // The addon, garbage collection, files, the command. Another platform brings others instead of these.
    const nodes =
      /^src\/((native\/(addon|no-binary)|garbage|serialization\/file-node(-inflate|-replace|-write)?)\.ts$|cli\/)/;
    for (const file of sources.filter((each) => !nodes.test(each)))
      expect([file, read(file)]).not.toEqual([file, expect.stringMatching(/from 'node:|require\('node:/)]);
    for (const file of sources.filter((each) => /^src\/serialization\/(?!file-node)/.test(each)))
      expect([file, read(file)]).not.toEqual([file, expect.stringMatching(/\b(Buffer|process)\b[.(]/)]);
  });
  test('no import points up', () => {
    expect(sources.length).toBeGreaterThan(15);
    for (const file of sources) {
      expect([file, roomOf(file)]).not.toEqual([file, -1]);
      for (const [, specifier] of read(file).matchAll(/from '(\.[^']+)'/g)) {
        const target = normalize(join(dirname(file), specifier!)).replace(/\.js$/, '.ts');
        // nn/index.ts is the namespace: it names what lies above, which nothing else of nn may.
        if (file === 'src/nn/index.ts' && /^src\/nn\/(quantized\/index|streams\/streams)\.ts$/.test(target))
          continue;
        expect([file, target, roomOf(target) <= roomOf(file)]).toEqual([file, target, true]);
      }
    }
  });
  test('only native/addon.ts loads the addon, and only load.ts what few files need', () => {
    const lazy = ['src/native/addon.ts', 'src/serialization/load.ts'];
    for (const file of sources.filter((each) => !lazy.includes(each))) {
      expect([file, read(file)]).not.toEqual([file, expect.stringMatching(/require\(/)]);
    }
  });
});
