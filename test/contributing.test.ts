import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

// CONTRIBUTING.md lists what a change touches, each time for one example. A list's form: "Example: `<name>` is
// `value`", lines that begin with "- " and one or more paths, and a paragraph that begins with "Only mentioned in:".

const root = join(__dirname, '..');
const text = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');

/** Each list by its title: how a file mentions its example, and how many files may have to be changed. */
const lists: Record<string, { mentions: RegExp; limit?: number }> = {
  'An instruction set': { mentions: /avxvnni/i, limit: 8 },
  'A kernel family': {
    mentions: /\bquantize\.inl|quantize_kernel|testQuantize\b|kernels_?\.quantize\(|\(\*quantize\)/,
    limit: 7,
  },
  'A native layer with a quantized twin': {
    mentions:
      /\bLinear\b|(Float|Half|Int8|Dynamic|DynamicQuantized)Linear\b|\blinear_|init_linear|callLinear|\/linear\b/,
    limit: 16,
  },
  'A type of module in checkpoints': { mentions: /_packed_weight_ih|\bcells\.pt/, limit: 3 },
  'A file format': { mentions: /safetensors/i },
};

const ignored = /(^|\/)(node_modules|build(-[^/]*)?|dist|\.git)$/;
/** Every text file of ours, but those that are about these lists. */
function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return ignored.test(path) ? [] : filesBelow(path);
    return /\.(ts|mts|mjs|cjs|h|cc|py|md|gyp|txt)$/.test(path) ? [path] : [];
  });
}
const own = ['CONTRIBUTING.md', 'test/contributing.test.ts'];
const files = filesBelow('').filter((file) => !own.includes(file));

/** `a.{h,cc}` as `a.h` and `a.cc`. */
function braces(path: string): string[] {
  const match = /^(.*)\{(.*)\}(.*)$/.exec(path);
  return match === null ? [path] : match[2]!.split(',').map((each) => `${match[1]}${each}${match[3]}`);
}

/** The paths that a section names: those to change, and those that only mention its example. */
function listOf(title: string): { example: string; change: string[]; mention: string[] } {
  const section = text.split(`\n### ${title}\n`)[1]!.split(/\n##/)[0]!;
  const examples = new Map(
    Array.from(section.matchAll(/`(<\w+>)` is `([^`]+)`/g), ([, name, value]) => [name!, value!]),
  );
  const pathsOf = (part: string): string[] =>
    Array.from(part.matchAll(/`([^` ]+)`/g), (match) => match[1]!)
      .flatMap(braces)
      .map((path) => path.replace(/<\w+>/g, (name) => examples.get(name) ?? name));
  const items = Array.from(section.matchAll(/^- ((?:`[^`]+`,? ?)+):/gm), (match) => match[1]!);
  const only = /^Only mentioned in: [^]*?\.$/m.exec(section)?.[0] ?? '';
  return { example: [...examples.values()][0]!, change: items.flatMap(pathsOf), mention: pathsOf(only) };
}
const covers = (path: string, file: string): boolean =>
  path === file || (path.endsWith('/') && file.startsWith(path));

test('every list has its example', () => {
  const sections = text.split('\n## What a change touches\n')[1]!;
  expect(Array.from(sections.matchAll(/^### (.*)$/gm), (match) => match[1])).toEqual(Object.keys(lists));
});

describe.each(Object.entries(lists))('%s', (title, { mentions, limit }) => {
  const { example, change, mention } = listOf(title);
  const mentioning = files.filter((file) => mentions.test(readFileSync(join(root, file), 'utf8')));

  test('every path exists', () => {
    expect(change.length).toBeGreaterThan(2);
    const isThere = (path: string): boolean =>
      existsSync(join(root, path)) && statSync(join(root, path)).isDirectory() === path.endsWith('/');
    expect([...change, ...mention].filter((path) => !isThere(path))).toEqual([]);
  });
  test('does not grow', () => {
    if (limit === undefined) return;
    expect(change.filter((path) => path.endsWith('/'))).toEqual([]); // a folder hides how many
    expect(new Set(change).size).toBeLessThanOrEqual(limit);
  });
  test('every file that mentions the example is named', () => {
    const isNamed = (file: string): boolean => [...change, ...mention].some((path) => covers(path, file));
    expect(mentioning.filter((file) => !isNamed(file))).toEqual([]);
  });
  test('every file that is named has to do with the example', () => {
    const has = (path: string): boolean =>
      path.includes(example) || mentioning.some((file) => covers(path, file));
    expect([...change, ...mention].filter((path) => !has(path))).toEqual([]);
  });
});
