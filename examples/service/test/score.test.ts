import assert from 'node:assert/strict';
import { readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { nn, Tensor } from 'dynaquant';
import { buildModel } from '../src/models.js';
import { readChunk, readDataset, type Dataset } from '../src/scoring/dataset.js';
import { optionsOf } from '../src/scoring/options.js';
import { Scorer, type Line } from '../src/scoring/rows.js';
import { read, score, temporaryFolder, texts, writeLines } from './score-support.js';

const folder = temporaryFolder();

async function linesOf(dataset: Dataset, scorer: Scorer): Promise<Line[]> {
  const lines: Line[] = [];
  for (const chunk of dataset.chunks) lines.push(...(await readChunk(dataset, chunk, scorer)));
  return lines;
}

/** Scores in one process, which needs no Redis, and reads what was written. */
async function scoreHere(file: string, ...options: readonly string[]): Promise<Record<string, unknown>[]> {
  const output = `${file}.out`;
  const { code, said } = await score([file, '--workers', '0', '--output', output, ...options]);
  assert.equal(code, 0, said);
  const lines = read(output).split('\n');
  assert.equal(lines.pop(), '');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a text has the mean log-probability of its characters, each after those before it', async () => {
  const rows = [
    { text: 'In the beginning' },
    { id: 'x', text: 'a' },
    { id: 7, text: `${'and '.repeat(100)}end` },
  ];
  const scores = await scoreHere(writeLines(join(folder, 'texts'), rows));
  const { layers, vocabulary } = buildModel('char-lm');
  for (const [i, { id, text }] of rows.entries()) {
    const streams = new nn.Streams(layers);
    const stream = streams.open();
    let sum = 0;
    let last = '\n';
    for (const character of text) {
      const token = new Tensor(BigInt64Array.of(BigInt(vocabulary!.indexOf(last))), [1]);
      const logits = Array.from(streams.step([stream], token).data as Float32Array);
      sum += logits[vocabulary!.indexOf(character)]! - Math.log(logits.reduce((a, x) => a + Math.exp(x), 0));
      last = character;
    }
    const { logProbability, perplexity, ...rest } = scores[i] as {
      logProbability: number;
      perplexity: number;
    };
    assert.ok(Math.abs(logProbability - sum / text.length) < 1e-9);
    assert.ok(Math.abs(perplexity - Math.exp(-sum / text.length)) < 1e-9 * perplexity);
    assert.deepEqual(rest, { line: i + 1, characters: text.length, ...(id === undefined ? {} : { id }) });
  }
});

test('a sequence of vectors has the output of its last step', async () => {
  const rows = [3, 1, 130].map((steps) => ({
    x: Array.from({ length: steps }, (_, t) =>
      Array.from({ length: 256 }, (_, f) => Math.sin(steps + t * f)),
    ),
  }));
  const scores = await scoreHere(writeLines(join(folder, 'vectors'), rows), '--model', 'lstm-256');
  const [lstm] = buildModel('lstm-256').layers;
  for (const [i, { x }] of rows.entries()) {
    const input = new Tensor(Float32Array.from(x.flat()), [x.length, 1, 256]);
    const [, [h]] = lstm!.forward(input) as [Tensor, nn.LSTMState];
    assert.deepEqual(scores[i], { line: i + 1, output: Array.from(h.data as Float32Array) });
  }
});

test('a line has the same score in chunks of any size', async () => {
  const file = writeLines(join(folder, 'chunks'), texts(60));
  const whole = await scoreHere(file, '--chunk', '1000');
  assert.deepEqual(await scoreHere(file, '--chunk', '7'), whole);
  assert.deepEqual(await scoreHere(file, '--chunk', '1'), whole);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('chunks')),
    ['chunks', 'chunks.out'],
  );
});

test('an id comes back, whatever it holds', async () => {
  const id = 'a\u2028b\u2029c\n{"line":9,}';
  const file = join(folder, 'ids');
  writeFileSync(file, `${JSON.stringify({ text: 'a', id })}\n`);
  const scores = await scoreHere(file);
  assert.deepEqual(
    scores.map((line) => line['id']),
    [id],
  );
});

const invalid: readonly (readonly [line: string | Buffer, sentence: string])[] = [
  ['{"text": "a"', 'should be a JSON object, got {"text": "a"'],
  ['[1]', 'should be a JSON object, got [1]'],
  ['{}', 'text should be a string that is not empty, got nothing'],
  ['{"text": ""}', 'text should be a string that is not empty, got ""'],
  ['{"text": 7}', 'text should be a string that is not empty, got 7'],
  ['{"text": "naïve"}', 'text has the character "ï" (U+00EF), which is not in the model\'s vocabulary'],
  [
    '{"text": "a", "id": [1]}',
    'id should be a string of at most 256 characters or a whole number, got an array of 1',
  ],
  [
    `{"text": "a", "id": "${'a'.repeat(257)}"}`,
    `id should be a string of at most 256 characters or a whole number, got "${'a'.repeat(59)}…`,
  ],
  [
    `{"text": ${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}}`,
    'text should be a string that is not empty, got an object',
  ],
  [Buffer.of(0xff, 0xfe, 0x00), 'should be UTF-8'],
  [`{"text": "${'a'.repeat(2 ** 20)}"}`, 'should have at most 1048576 bytes'],
];
test('a line that is no row is named, or left out', async () => {
  const scorer = new Scorer(buildModel('char-lm'));
  const file = join(folder, 'invalid');
  for (const [line, sentence] of invalid) {
    const rest = [Buffer.from('{"text": "before"}\r\n\n'), Buffer.from('\n{"text": "after"}')] as const;
    writeFileSync(file, Buffer.concat([rest[0], Buffer.from(line), rest[1]]));
    await assert.rejects(readDataset(file, scorer, { chunkRows: 9, skipInvalid: false }), {
      name: 'RangeError',
      message: `line 3 of ${file}: ${sentence}`,
    });
    const dataset = await readDataset(file, scorer, { chunkRows: 9, skipInvalid: true });
    assert.deepEqual([dataset.rows, dataset.invalid], [2, 1]);
    assert.equal(dataset.firstProblem, `line 3 of ${file}: ${sentence}`);
    assert.deepEqual(await linesOf(dataset, scorer), [
      [1, '{"text": "before"}'],
      [4, '{"text": "after"}'],
    ]);
  }
  writeFileSync(file, '{"text": "a"}\n{}\n{"text": "b"}\n');
  assert.deepEqual(await score([file, '--workers', '0']), {
    code: 1,
    said: `score: line 2 of ${file}: text should be a string that is not empty, got nothing\n`,
  });
  const scores = await scoreHere(file, '--skip-invalid');
  assert.deepEqual(
    scores.map(({ line }) => line),
    [1, 3],
  );
});

test('a vector is refused when it has another size, or a number that would overflow', () => {
  const scorer = new Scorer(buildModel('lstm-256'));
  const step = Array.from({ length: 256 }, () => 0);
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    [{ y: [step] }, /^x should be an array of steps, .*, got nothing$/],
    [{ x: [] }, /, got no step$/],
    [{ x: [step, step.slice(1)] }, /, but step 1 is 255 numbers$/],
    [{ x: [1] }, /, but step 0 is 1$/],
    [{ x: [[...step.slice(1), null]] }, /, but one of step 0 is null$/],
    [{ x: [[...step.slice(1), 1e31]] }, /, but one of step 0 is 1e\+31$/],
  ];
  for (const [row, message] of wrong)
    assert.throws(() => scorer.check(JSON.stringify(row)), { name: 'RangeError', message });
  scorer.check(JSON.stringify({ x: [[...step.slice(1), -1e30]] }));
});

test('chunks hold as many rows as they may, and a megabyte at most', async () => {
  const scorer = new Scorer(buildModel('char-lm'));
  const file = join(folder, 'large');
  const sizes = [300_000, 300_000, 500_000, 1_000_000, 10, 10, 10, 10];
  const lines = sizes.map((size) => JSON.stringify({ text: 'a'.repeat(size) }));
  writeFileSync(file, lines.join('\n'));
  const dataset = await readDataset(file, scorer, { chunkRows: 3, skipInvalid: false });
  assert.deepEqual(
    dataset.chunks.map(({ rows }) => rows),
    [2, 1, 3, 2],
  );
  assert.deepEqual(
    await linesOf(dataset, scorer),
    lines.map((line, i) => [i + 1, line]),
  );
  writeFileSync(file, lines.join('\n').replace('a', 'b'));
  await assert.rejects(
    linesOf(dataset, scorer),
    /large was changed while it was scored, in line 1 or after it$/,
  );
});

test('an argument that does not fit is refused with a sentence', async () => {
  const file = writeLines(join(folder, 'arguments'), texts(1));
  const link = join(folder, 'link');
  symlinkSync(file, link);
  const wrong: readonly (readonly [string[], RegExp])[] = [
    [[], /^score takes one FILE, got none/],
    [[file, file], /^score takes one FILE, got .* /],
    [[file, '--model', 'gpt'], /^--model should be one of char-lm, .*, got 'gpt'/],
    [[file, '--workers', '1.5'], /^--workers should be an integer from 0 to 256, got '1.5'/],
    [[file, '--workers', '257'], /^--workers should be .*, got '257'/],
    [[file, '--chunk', '0'], /^--chunk should be an integer from 1 to 1000, got '0'/],
    [[file, '--ahead', 'x'], /^--ahead should be an integer from 1 to 10000, got 'x'/],
    [[file, '--redis', 'localhost'], /^--redis should be redis:/],
    [[file, '--remote'], /^--remote needs the Redis of the workers/],
    [[file, '--remote', '--workers', '1'], /^--remote starts no workers/],
    [[file, '--workers', '0', '--redis', '/a'], /^--workers 0 scores in this process/],
    [[file, '--output', folder], /^--output should be a file, but .* is a folder/],
    [[file, '--output', join(folder, 'no', 'where')], /^--output should be in a folder that exists/],
    [[file, '--output', link], /^--output should be a file of its own/],
    [[file, '--output', '/dev/null'], /^--output should be a file of its own/],
    [[file, '--output', file], /^--output should be another file than FILE/],
    [[file, '--nonsense'], /^Unknown option '--nonsense'/],
  ];
  for (const [args, message] of wrong) assert.throws(() => optionsOf(args, {}), { message });
  const { code, said } = await score([file, '--chunk', '0']);
  assert.equal(code, 2);
  assert.match(said, /^score: --chunk should be an integer .*\nscore: --help lists the options\n$/);
});

test('a dataset that is none is refused with a sentence', async () => {
  const empty = join(folder, 'empty');
  writeFileSync(empty, '\n \n');
  for (const [file, sentence] of [
    [join(folder, 'none'), /FILE should be a file, but .* is not there/],
    [folder, /FILE should be a file, but .* is no file/],
    [empty, /FILE should have a line that can be scored, but .* has none/],
  ] as const) {
    const { code, said } = await score([file, '--workers', '0', '--output', join(folder, 'none.out')]);
    assert.equal(code, 1);
    assert.match(said, sentence);
  }
});

test('a Redis that is not there is named', async () => {
  const file = writeLines(join(folder, 'no-redis'), texts(1));
  const { code, said } = await score([file, '--redis', join(folder, 'no.sock')]);
  assert.equal(code, 1);
  assert.match(said, /Redis does not answer: connect ENOENT/);
});

test('--help lists the options', async () => {
  const { code, said } = await score(['--help']);
  assert.equal(code, 0);
  for (const option of ['model', 'workers', 'remote', 'redis', 'output', 'chunk', 'ahead', 'skip-invalid'])
    assert.match(said, new RegExp(`^  --${option} `, 'm'));
});
