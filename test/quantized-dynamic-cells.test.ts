import * as nn from '../src/nn/index.js';
import { manualSeed, randn } from '../src/random.js';
import { cat, type Tensor, zeros } from '../src/tensor/index.js';
import { native } from '../src/native/addon.js';
import {
  floatModule,
  quantize,
  randomState,
  tensorsOf,
  testFloat16,
  testHostile,
  testRoundTrip,
} from './recurrent.js';
import { bytesOf, everyQConfig, withIsa } from './support.js';

const cells = ['LSTMCell', 'GRUCell', 'RNNCell'] as const;
const isas = native().isas();

for (const name of cells) {
  testFloat16(name, 1);
  testRoundTrip(name);
  testRoundTrip(name, { bias: false });
  testHostile(name);
}
testRoundTrip('RNNCell', { nonlinearity: 'relu' });

describe.each(cells)('%s', (name) => {
  test('the same bytes on every instruction set, and per row in any batch', () => {
    manualSeed(1);
    const [x, float] = [randn(32, 67), floatModule(name, [67, 130])];
    const state = randomState(float, 32);
    const row = (t: Tensor, b: number): Tensor => t.slice(0, b, b + 1);
    for (const qconfig of everyQConfig) {
      const outputs = isas.map((isa) =>
        withIsa(isa, () => {
          const q = quantize(name, float, qconfig);
          const all = tensorsOf(q.forward(x, state));
          if (qconfig.activation === 'perRow') {
            for (let b = 0; b < 32; b++) {
              const own = Array.isArray(state) ? state.map((t) => row(t, b)) : row(state, b);
              const alone = tensorsOf(q.forward(row(x, b), own));
              expect(alone.map(bytesOf)).toEqual(all.map((t) => bytesOf(row(t, b))));
            }
          }
          return all.map(bytesOf);
        }),
      );
      for (const output of outputs) expect(output).toEqual(outputs[0]);
    }
  });
  test('with ranges per row, steps are those of the layer', () => {
    const layer = name.replace('Cell', '') as 'LSTM' | 'GRU' | 'RNN';
    const float = floatModule(layer, [6, 20]);
    const cell = floatModule(name, [6, 20]);
    cell.loadStateDict([...float.stateDict()].map(([key, tensor]) => [key.replace('_l0', ''), tensor]));
    const x = randn(5, 3, 6);
    for (const qconfig of everyQConfig.filter(({ activation }) => activation === 'perRow')) {
      const [y] = quantize(layer, float, qconfig).forward(x);
      const q = quantize(name, cell, qconfig);
      let state: unknown = null;
      const steps: Tensor[] = [];
      for (let t = 0; t < 5; t++) {
        state = q.forward(x.select(0, t), state);
        steps.push(tensorsOf(state)[0]!.unsqueeze(0));
      }
      expect(bytesOf(cat(steps))).toBe(bytesOf(y));
    }
  });
});

describe('errors', () => {
  const { LSTMCell, GRUCell } = nn.quantized.dynamic;
  const lstm = new LSTMCell(4, 5);
  const gru = new GRUCell(4, 5);
  test.each<[string, () => unknown, RegExp]>([
    ['features', () => lstm.forward(zeros(2, 3)), /^input has inconsistent input_size: got 3, expected 4/],
    [
      'batch',
      () => lstm.forward(zeros(2, 4), [zeros(3, 5), zeros(3, 5)]),
      /^Input batch size 2 doesn't match hidden\[0\] batch size 3/,
    ],
    [
      'size of c',
      () => lstm.forward(zeros(2, 4), [zeros(2, 5), zeros(2, 6)]),
      /^hidden\[1\] has inconsistent hidden_size: got 6, expected 5/,
    ],
    ['batch of a GRU', () => gru.forward(zeros(2, 4), zeros(3, 5)), /doesn't match hidden batch size 3/],
    [
      'dtype',
      () => gru.forward(zeros([2, 4], { dtype: 'int32' })),
      /^expected scalar type Float but found int32/,
    ],
  ])('%s', (_, f, message) => expect(f).toThrow(message));
});
