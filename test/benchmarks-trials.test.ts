import { contenderFacets, contenders } from '../benchmarks/contenders/index.js';
import { chooseAll } from '../benchmarks/options.js';
import { services } from '../benchmarks/services/index.js';
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

describe('what words choose', () => {
  const chosen = (...words: string[]): { trials: string[]; services: string[] } => {
    const { trials, chosenServices } = chooseAll(words, [1], false);
    return { trials: trials.map(trialName), services: chosenServices.map(({ name }) => name) };
  };

  test('nothing said: all layers and services, no models', () => {
    const { trials, services: found } = chosen();
    expect(trials).toEqual(grid([1]).map(trialName));
    expect(found).toHaveLength(services.length);
  });

  test('layers, models and services leave each other out, unless words name several', () => {
    expect(chosen('minilm', 'onnxruntime')).toEqual({
      trials: ['minilm 1x32 1-thread', 'minilm 16x32 1-thread', 'minilm 1x128 1-thread'],
      services: [],
    });
    expect(chosen('memory')).toEqual({ trials: [], services: ['memory'] });
    expect(chosen('silero', '1-chunk', 'h8', 't1', 'b1', 'lstm', 'trained', 'memory')).toEqual({
      trials: ['lstm h8 b1 t1 trained 1-thread', 'silero 1-chunk 1-thread'],
      services: ['memory'],
    });
    expect(chosen('models').trials).toHaveLength(9);
    expect(chosen('pytorch', '1-thread').trials).toHaveLength(grid([1]).length);
  });

  test('models run in the default mode, best and float', () => {
    const { trials, contendersOf } = chooseAll(['beatnet'], [1], false);
    expect(contendersOf(trials[0]!).map(({ name }) => name)).toEqual([
      'dynaquant-int8',
      'dynaquant-int8-best',
      'onnxruntime-int8',
      'pytorch-int8',
      'dynaquant-float',
      'onnxruntime-float',
      'pytorch-float',
    ]);
    expect(contendersOf(grid([1])[0]!).map(({ name }) => name)).not.toContain('dynaquant-int8-best');
  });

  test('an unknown word is an error', () => {
    expect(() => chooseAll(['minilm', 'bert'], [1], false)).toThrow("called 'bert'");
  });
});
