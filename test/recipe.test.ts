import { join } from 'node:path';

import { runNode, type Run } from './support.js';

interface Result {
  dim: number;
  models: string[];
  size: { name: string; bytes: number; ratio: number }[];
  latency: { ratio: number };
  accuracy: { float: number; int8: number; difference: number; percent: number };
}

/** Runs the built recipe as `npm run recipe` does, from another directory. */
function recipe(...options: string[]): Run {
  return runNode([join(__dirname, '..', 'examples', 'run.cjs'), 'recipe', ...options], { cwd: __dirname });
}

describe('the figures of PyTorch’s recipe', () => {
  test.each([
    ['8', 0, ['0.12887', '0.12912', '0.00156 or 1.21 percent']],
    ['80', 3.5, ['0.11815', '0.11810', '0.00170 or 1.44 percent']],
    ['512', 3.9, ['0.11544', '0.11545', '0.00195 or 1.69 percent']],
  ])(
    'dimension %s',
    (dim, smaller, [float, int8, difference]) => {
      const { status, stdout, stderr } = recipe('--dim', dim);
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout).toContain(`(lstm): LSTM(${dim}, ${dim})`);
      expect(stdout).toContain(`(lstm): DynamicQuantizedLSTM(${dim}, ${dim})`);
      expect(stdout).toContain(`values in the FP32 model is ${float}\n`);
      expect(stdout).toContain(`values in the INT8 model is ${int8}\n`);
      expect(stdout).toContain(`between the output tensors is ${difference}\n`);
      const ratio = Number(/([\d.]+) times smaller/.exec(stdout)![1]);
      expect(ratio).toBeGreaterThan(Math.max(1, smaller));
    },
    60_000,
  );

  test('without options, dimension 8', () => {
    expect(recipe().stdout).toContain('0.00156 or 1.21 percent\n');
  }, 60_000);
});

test('--json prints one document and nothing else', () => {
  const { status, stdout, stderr } = recipe(
    ...['--json', '--dim', '16', '--layers', '2', '--sequence', '3', '--batch', '2'],
  );
  expect([status, stderr]).toEqual([0, '']);
  const result = JSON.parse(stdout) as Result;
  expect(result).toMatchObject({ dim: 16, layers: 2, sequence: 3, batch: 2 });
  expect(result.models[1]).toContain('DynamicQuantizedLSTM(16, 16, num_layers=2)');
  expect(result.size[1]!.bytes).toBeLessThan(result.size[0]!.bytes);
  expect(result.latency.ratio).toBeGreaterThan(0);
  const { float, difference, percent } = result.accuracy;
  expect(percent).toBeCloseTo((difference / float) * 100, 10);
}, 60_000);

test('--help lists the options', () => {
  const { status, stdout } = recipe('--help');
  expect(status).toBe(0);
  for (const option of ['dim', 'layers', 'sequence', 'batch', 'model', 'json', 'help']) {
    expect(stdout).toContain(`--${option} `);
  }
});

test.each([
  [['--nonsense'], /'--nonsense'/],
  [['stray'], /'stray'/],
  [['--dim'], /--dim/],
  [['--dim', '0'], /--dim should be a whole number from 1 to \d+, got '0'/],
  [['--dim=-1'], /--dim should be/],
  [['--layers', '1.5'], /--layers should be/],
  [['--sequence', '1e3'], /--sequence should be/],
  [['--batch', 'many'], /--batch should be .*'many'/],
  [['--model', 'gpt'], /--model should be lstm or char-lm, got 'gpt'/],
  [['--model', 'char-lm', '--dim', '8'], /--dim does not go with --model char-lm/],
  [['--json=1'], /--json/],
])('%j: one line on stderr, exit code 2', (options, message) => {
  const { status, stdout, stderr } = recipe(...options);
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^recipe: [^\n]+\n$/);
});

test('--model char-lm: figures of two models, then text', () => {
  const { status, stdout, stderr } = recipe('--model', 'char-lm');
  expect([status, stderr]).toEqual([0, '']);
  for (const [name, loss] of Object.entries({
    FP32: 1.28731,
    'per tensor': 1.28993,
    'per channel': 1.28838,
  })) {
    const printed = Number(new RegExp(`${name} +(1\\.\\d{5}) `).exec(stdout)![1]);
    expect(Math.abs(printed - loss)).toBeLessThan(0.0003);
  }
  expect(stdout.match(/^   INT8 best +[\d., ]+$/gm)).toHaveLength(2);
  const text = stdout.slice(stdout.indexOf('sampled from the INT8 GRU:'));
  expect(text.length).toBeGreaterThan(400);
}, 300_000);
