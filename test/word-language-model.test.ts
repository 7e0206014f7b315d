import { join } from 'node:path';

import { runNode, type Run } from './support.js';

/** Runs the built example as `npm run word-language-model` does, from another directory. */
function run(...options: string[]): Run {
  const script = join(__dirname, '..', 'examples', 'run.cjs');
  return runNode([script, 'word-language-model', ...options], { cwd: __dirname });
}

test('prints the tutorial’s modules, and files of its sizes', () => {
  const { status, stdout, stderr } = run('--words', '30', '--json');
  expect([status, stderr]).toEqual([0, '']);
  const { models, results, words } = JSON.parse(stdout) as {
    models: string[];
    results: { name: string; bytes: number; loss: number; seconds: number }[];
    words: number;
  };
  expect(words).toBe(30);
  expect(models[0]).toBe(`LSTMModel(
  (drop): Dropout(p=0.5, inplace=False)
  (encoder): Embedding(33278, 512)
  (rnn): LSTM(512, 256, num_layers=5, dropout=0.5)
  (decoder): Linear(in_features=256, out_features=33278, bias=True)
)`);
  expect(models[1]).toBe(`LSTMModel(
  (drop): Dropout(p=0.5, inplace=False)
  (encoder): Embedding(33278, 512)
  (rnn): DynamicQuantizedLSTM(512, 256, num_layers=5, dropout=0.5)
  (decoder): DynamicQuantizedLinear(in_features=256, out_features=33278, dtype=torch.qint8, qscheme=torch.per_tensor_affine)
)`);
  expect(models[2]).toContain('(encoder): QuantizedEmbedding(num_embeddings=33278, embedding_dim=512, ');
  // The tutorial's files have some 3 kB of PyTorch's container around them.
  const megabytes = results.map(({ bytes }) => bytes / 1e6);
  expect(Math.abs(megabytes[0]! - 113.944064)).toBeLessThan(0.01);
  expect(Math.abs(megabytes[1]! - 79.738484)).toBeLessThan(0.01);
  expect(megabytes[2]!).toBeLessThan(megabytes[0]! / 3.9);
  for (const { loss, seconds } of results) {
    expect(Math.abs(loss - results[0]!.loss)).toBeLessThan(0.002);
    expect(seconds).toBeGreaterThan(0);
  }
}, 120_000);

test.each([
  [['--nonsense'], /'--nonsense'/],
  [['--words', '0'], /--words should be a whole number from 1 to 245569, got '0'/],
  [['--words', '999999'], /--words should be .*'999999'/],
  [['--threads', 'many'], /--threads should be a whole number from 1 to 256, got 'many'/],
])('%j: one line on stderr, exit code 2', (options, message) => {
  const { status, stdout, stderr } = run(...options);
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^word-language-model: [^\n]+\n$/);
});
