import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  compare,
  evaluate,
  heldOutText,
  loadCharLM,
  modes,
  quantize,
  sample,
  type Evaluation,
} from '../examples/char-lm/char-lm.js';
import type { Tensor } from '../src/index.js';

interface Figures {
  loss: number;
  top1: number;
  agreement: number;
}

describe.each([
  ['lstm', 'expected.json'],
  ['gru', 'expected-gru.json'],
] as const)('%s', (kind, file) => {
  /** What PyTorch says (train.py). */
  const expected = JSON.parse(
    readFileSync(join(__dirname, '..', 'examples', 'char-lm', file), 'utf8'),
  ) as Record<'float' | 'per_tensor' | 'per_channel' | 'float16', Figures> & {
    vocabulary: string;
    streams: number;
    steps: number;
  };
  const { model, vocabulary } = loadCharLM(kind);

  describe('on held-out text', () => {
    let inputs: Tensor;
    let targets: Tensor;
    let reference: Evaluation;
    const evaluations = new Map<string, Evaluation>();
    const inMode = (name: string): Evaluation => {
      const known = evaluations.get(name) ?? evaluate(quantize(model, modes[name]!), inputs, targets);
      evaluations.set(name, known);
      return known;
    };

    beforeAll(() => {
      ({ inputs, targets } = heldOutText(vocabulary));
      reference = evaluate(model, inputs, targets);
    });

    function check(evaluation: Evaluation, figures: Figures): void {
      expect(Math.abs(evaluation.loss - figures.loss)).toBeLessThan(0.0003);
      expect(evaluation.perplexity).toBe(Math.exp(evaluation.loss));
      expect(Math.abs(evaluation.top1 - figures.top1)).toBeLessThan(0.002);
      const { agreement } = compare(evaluation, reference);
      expect(Math.abs(agreement - figures.agreement)).toBeLessThan(0.002);
      expect(evaluation.charactersPerSecond).toBeGreaterThan(0);
    }

    test('the text is cut as train.py cuts it', () => {
      expect(vocabulary.join('')).toBe(expected.vocabulary);
      expect(inputs.shape).toEqual([expected.steps, expected.streams]);
      expect(targets.select(0, 0).toArray()).toEqual(inputs.select(0, 1).toArray());
    });
    test.each([
      ['INT8 per tensor', 'per_tensor'],
      ['INT8 per channel', 'per_channel'],
      ['float16', 'float16'],
    ] as const)('the figures are PyTorch’s: %s', (name, key) => check(inMode(name), expected[key]));
    test('the figures are PyTorch’s: float', () => check(reference, expected.float));
    test('the best mode has at most half the error, and float’s perplexity', () => {
      const best = inMode('INT8 best');
      const { meanLogitError } = compare(best, reference);
      const perTensor = compare(inMode('INT8 per tensor'), reference).meanLogitError;
      expect(meanLogitError).toBeGreaterThan(0);
      expect(meanLogitError).toBeLessThanOrEqual(perTensor / 2);
      expect(Math.abs(best.perplexity / reference.perplexity - 1)).toBeLessThan(0.001);
    });
  });

  test('sampling: a seed gives one text', () => {
    const int8 = quantize(model, modes['INT8 per channel']!);
    const text = (seed: number): string =>
      [...sample(int8, vocabulary, { prompt: 'And ', length: 60, seed })].join('');
    const first = text(7);
    expect(first).toHaveLength(60);
    expect([...first].every((character) => vocabulary.includes(character))).toBe(true);
    expect(text(7)).toBe(first);
    expect(text(8)).not.toBe(first);
  });

  test('sampling: characters come one by one', () => {
    const characters = sample(model, vocabulary, { prompt: 'And ', length: 1e9, seed: 7 });
    expect(characters.next().done).toBe(false);
    expect(characters.next().done).toBe(false);
  });
});
