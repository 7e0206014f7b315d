import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// How large the pieces of the C++ code may be: a function 60 lines and six parameters, a file 500 lines. For
// TypeScript ESLint has rules (eslint.config.mjs).

const root = join(__dirname, '..');
const limits = { lines: 60, parameters: 6, fileLines: 500 };

/** What may be larger, with the reason in one sentence: `file` or `file: function`. */
const exceptions: Record<string, string> = {};

interface CppFunction {
  name: string;
  lines: number;
  parameters: number;
}

/** The same text with comments, literals and preprocessor lines blanked out: only code has braces then. */
function codeOf(text: string): string {
  const noCode =
    /\/\/[^\n]*|\/\*[^]*?\*\/|"(?:\\.|[^"\\\n])*"|(?<![\dA-Fa-f])'(?:\\.|[^'\\\n])*'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm;
  return text.replace(noCode, (match) => match.replace(/[^\n]/g, ' '));
}

const pairs: Record<string, string> = { ')': '(', '}': '{', ']': '[', '>': '<' };

/** Where the bracket that `end` closes was opened. */
function openingOf(text: string, end: number): number {
  let depth = 0;
  for (let i = end; i >= 0; i--) {
    if (text[i] === text[end]) depth++;
    if (text[i] === pairs[text[end]!] && --depth === 0) return i;
  }
  return -1;
}

/** The commas between the brackets of a list separate its elements, except those in brackets of their own. */
function countElements(list: string): number {
  if (/^\s*(void)?\s*$/.test(list)) return 0;
  let depth = 0;
  let count = 1;
  for (const [character] of list.matchAll(/->|[<>=]=|[()[\]{}<>,]/g)) {
    if ('([{<'.includes(character)) depth++;
    else if (')]}>'.includes(character)) depth--;
    else if (character === ',' && depth === 0) count++;
  }
  return count;
}

/** What comes before a `{`: the end of a function's signature, of a lambda's, or of anything else. */
function signatureOf(head: string): { name: string; parameters: string } | undefined {
  // Take off what may follow the parameters; a constructor's initializers too.
  const trimmed = head
    .replace(/\s+/g, ' ')
    .replace(/\) ?:(?!:)[^]*$/, ')')
    .replace(/ ?-> ?[\w:<>*&, ]+$/, '')
    .replace(/( ?\b(const|noexcept|override|final|mutable))*\s*$/, '');
  if (trimmed.endsWith(']')) return { name: 'a lambda', parameters: '' };
  if (!trimmed.endsWith(')')) return undefined;
  const open = openingOf(trimmed, trimmed.length - 1);
  const parameters = trimmed.slice(open + 1, -1);
  const before = trimmed.slice(0, open).trimEnd();
  if (before.endsWith(']')) return { name: 'a lambda', parameters };
  const name = /(operator\s*\S+|~?\w+(<[^<>]*>)?)$/.exec(before)?.[0];
  const control = ['if', 'constexpr', 'for', 'while', 'switch', 'catch', 'decltype', 'alignas'];
  return name === undefined || control.includes(name) ? undefined : { name, parameters };
}

/** Every function and lambda that has a body; `text` is formatted by clang-format. */
function functionsOf(text: string): CppFunction[] {
  const code = codeOf(text);
  const lineOf = (index: number): number => code.slice(0, index).split('\n').length;
  const functions: CppFunction[] = [];
  const open: { signature: ReturnType<typeof signatureOf>; line: number }[] = [];
  let start = 0; // of the statement
  for (let i = 0; i < code.length; i++) {
    if (code[i] === '{') {
      const head = code.slice(start, i);
      open.push({ signature: signatureOf(head), line: lineOf(start + head.search(/\S|$/)) });
    } else if (code[i] === '}') {
      const { signature, line } = open.pop()!;
      if (signature !== undefined) {
        const { name, parameters } = signature;
        functions.push({ name, lines: lineOf(i) - line + 1, parameters: countElements(parameters) });
      }
    }
    if (code[i] === '{' || code[i] === '}' || code[i] === ';') start = i + 1;
  }
  if (open.length !== 0) throw new Error('a brace stays open');
  return functions;
}

describe('the reader of C++', () => {
  const read = (...lines: string[]): CppFunction[] => functionsOf(lines.join('\n'));
  test('counts lines from the signature to the closing brace', () => {
    expect(read('template <typename T>', 'T twice(T x) {', '  return 2 * x;  // }', '}')).toEqual([
      { name: 'twice', lines: 4, parameters: 1 },
    ]);
  });
  test.each<[string, number]>([
    ['void f() {}', 0],
    ['void f(int) noexcept {}', 1],
    ['auto f(std::map<int, int> a, void (*b)(int, int)) -> std::map<int, int> {}', 2],
    ['void C::f(int a = g(1, 2), int b = 2) const override {}', 2],
    ['bool operator==(const C& a, const C& b) {}', 2],
    ['C(int a, int b) : a_(a), b_(b) {}', 2],
  ])('counts parameters: %s', (line, parameters) => {
    expect(read(line).map((each) => each.parameters)).toEqual([parameters]);
  });
  test('finds lambdas, also those that are arguments', () => {
    const text = [
      'void f() {',
      '  const auto g = [&](int a, int b) noexcept {',
      '  };',
      '  run([] {',
      '  });',
      '}',
    ];
    expect(read(...text)).toEqual([
      { name: 'a lambda', lines: 2, parameters: 2 },
      { name: 'a lambda', lines: 2, parameters: 0 },
      { name: 'f', lines: 6, parameters: 0 },
    ]);
  });
  test('takes nothing else for a function', () => {
    const text = [
      'namespace a {',
      'struct alignas(64) B : C<int> {',
      '  int c[2] = {1, 2};',
      '};',
      'enum class E { kE };',
      'constexpr char kBrace = \'{\'; const char* const kText = "f() {";',
      '#define F(x) { x',
      '}',
    ];
    expect(read(...text)).toEqual([]);
    expect(
      read('void f() {', ' if (a) {', ' } else if (b) {', ' } else {', '  for (;;) {}', ' }', '}'),
    ).toEqual([{ name: 'f', lines: 7, parameters: 0 }]);
  });
});

/** The C++ and Python files of a folder, with its folders. */
function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(h|cc|py)$/.test(file) && !file.includes('node_modules'))
    .map((file) => join(folder, file))
    .sort();
}
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** Each name that is too large, with what is too large about it. */
const tooLarge = new Map<string, string>();
for (const file of ['native', 'benchmarks', 'examples'].flatMap(sources)) {
  const lines = read(file).split('\n').length - 1;
  if (lines > limits.fileLines) tooLarge.set(file, `${lines} lines`);
}
const functions = ['native/engine', 'native/bindings']
  .flatMap(sources)
  .flatMap((file) => functionsOf(read(file)).map((each) => ({ ...each, name: `${file}: ${each.name}` })));
for (const { name, lines, parameters } of functions) {
  if (lines > limits.lines) tooLarge.set(name, `${lines} lines`);
  if (parameters > limits.parameters) tooLarge.set(name, `${parameters} parameters`);
}

test('no function and no file is too large', () => {
  expect(functions.length).toBeGreaterThan(200);
  expect([...tooLarge].filter(([name]) => !Object.hasOwn(exceptions, name))).toEqual([]);
});
test('every exception is needed', () => {
  expect(Object.keys(exceptions).filter((name) => !tooLarge.has(name))).toEqual([]);
});
