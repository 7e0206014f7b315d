import { contenderFacets, contenders } from '../benchmarks/contenders/index.js';
import { choose, grid, isQuick, trialFacets, trialName, unknownWords } from '../benchmarks/trials.js';

const trials = grid([1]);
const names = (words: string[]): string[] => choose(trials, trialFacets, words).map(trialName);
const who = (words: string[]): string[] => choose(contenders, contenderFacets, words).map(({ name }) => name);

test('the grid is whole: 57 LSTMs, 57 GRUs and 4 Linears, trained and untrained, each name once', () => {
  const all = trials.map(trialName);
  expect(all.filter((name) => name.startsWith('lstm'))).toHaveLength(2 * 57);
  expect(all.filter((name) => name.startsWith('gru'))).toHaveLength(2 * 57);
  expect(all.filter((name) => name.startsWith('linear'))).toHaveLength(2 * 4);
  expect(new Set(all).size).toBe(all.length);
  expect(grid([1, 2])).toHaveLength(2 * all.length);
});

test('the quick part has every kind of call on three sizes', () => {
  expect(trials.filter(isQuick)).toHaveLength(9);
});

test('words of one facet are alternatives, facets restrict each other', () => {
  expect(names(['lstm', 'h8', 'b1', 't1', 't20', 'trained'])).toEqual([
    'lstm h8 b1 t1 trained 1-thread',
    'lstm h8 b1 t20 trained 1-thread',
  ]);
  expect(names(['512x33278', 'b32', 'untrained'])).toEqual(['linear 512x33278 b32 t1 untrained 1-thread']);
  expect(names([])).toHaveLength(trials.length);
  expect(names(['onnxruntime'])).toHaveLength(trials.length);
});

test('contenders are chosen by engine, type and mode; those without modes stay with any', () => {
  expect(who(['onnxruntime', 'float'])).toEqual(['onnxruntime-float']);
  expect(who(['dynaquant', 'perrow'])).toEqual([
    'dynaquant-int8-perrow',
    'dynaquant-float16',
    'dynaquant-float',
  ]);
  expect(who(['pytorch', 'pertensor'])).toEqual(['pytorch-int8', 'pytorch-float16', 'pytorch-float']);
  expect(who(['dynaquant-int8-best'])).toEqual(['dynaquant-int8-best']);
});

test('words that nobody knows are found', () => {
  const facets = [...trials.map(trialFacets), ...contenders.map(contenderFacets)];
  expect(unknownWords(facets, ['h8', 'h9', 'pytorch', 'tensorflow'])).toEqual(['h9', 'tensorflow']);
});
