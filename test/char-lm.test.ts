import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  agreement,
  evaluate,
  heldOutText,
  loadCharLM,
  sample,
  type CharLM,
  type Evaluation,
} from '../examples/char-lm/char-lm.js';
import { nn, quantization, type Tensor } from '../src/index.js';

interface Figures {
  loss: number;
  top1: number;
  agreement: number;
}

/** What PyTorch says (train.py). */
const expected = JSON.parse(
  readFileSync(join(__dirname, '..', 'examples', 'char-lm', 'expected.json'), 'utf8'),
) as {
  vocabulary: string;
  streams: number;
  steps: number;
  float: Figures;
  per_tensor: Figures;
  per_channel: Figures;
};

const { model, vocabulary } = loadCharLM();
const { defaultDynamicQConfig, perChannelDynamicQConfig, quantizeDynamic } = quantization;
const quantize = (qconfig: quantization.QConfig): CharLM =>
  quantizeDynamic(model, new Map([nn.LSTM, nn.Linear].map((type) => [type, qconfig])));

describe('on held-out text, the figures are PyTorch’s', () => {
  let inputs: Tensor;
  let targets: Tensor;
  let reference: Evaluation;

  beforeAll(() => {
    ({ inputs, targets } = heldOutText(vocabulary));
    reference = evaluate(model, inputs, targets);
  });

  function check(evaluation: Evaluation, figures: Figures): void {
    expect(Math.abs(evaluation.loss - figures.loss)).toBeLessThan(0.0003);
    expect(evaluation.perplexity).toBe(Math.exp(evaluation.loss));
    expect(Math.abs(evaluation.top1 - figures.top1)).toBeLessThan(0.002);
    const agrees = agreement(evaluation.choices, reference.choices);
    expect(Math.abs(agrees - figures.agreement)).toBeLessThan(0.002);
    expect(evaluation.charactersPerSecond).toBeGreaterThan(0);
  }

  test('the text is cut as train.py cuts it', () => {
    expect(vocabulary.join('')).toBe(expected.vocabulary);
    expect(inputs.shape).toEqual([expected.steps, expected.streams]);
    expect(targets.select(0, 0).toArray()).toEqual(inputs.select(0, 1).toArray());
  });
  test('float', () => check(reference, expected.float));
  test('INT8 per tensor', () => {
    check(evaluate(quantize(defaultDynamicQConfig), inputs, targets), expected.per_tensor);
  });
  test('INT8 per channel', () => {
    check(evaluate(quantize(perChannelDynamicQConfig), inputs, targets), expected.per_channel);
  });
});

test('sampling: a seed gives one text', () => {
  const int8 = quantize(perChannelDynamicQConfig);
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
