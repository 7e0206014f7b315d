import * as nn from '../src/nn/index.js';
import { LSTM as QuantizedLSTM } from '../src/nn/quantized/dynamic/lstm.js';
import { perRowDynamicQConfig } from '../src/quantization/index.js';
import { randn } from '../src/random.js';
import {
  testDynamicLayer,
  testEveryIsa,
  testLargeBatches,
  testFewUnits,
  testFloat16,
  testHostile,
  testModes,
  testPerRow,
  testRoundTrip,
} from './recurrent.js';
import { bytesOf, everyQConfig } from './support.js';

testDynamicLayer('LSTM', { cases: 26 });
testModes('LSTM', 6);
testFloat16('LSTM', 3);
testEveryIsa('LSTM');
testLargeBatches('LSTM');
testFewUnits('LSTM');
testPerRow('LSTM');
testPerRow('LSTM', { proj_size: 11 });
testRoundTrip('LSTM', { num_layers: 2, bidirectional: true, batch_first: true });
testRoundTrip('LSTM', { proj_size: 5, bias: false, num_layers: 2 });
testHostile('LSTM');

test('a long sequence, whose input gates are computed in parts, is the same in chunks', () => {
  for (const qconfig of everyQConfig.filter(({ activation }) => activation === 'perRow')) {
    const q = QuantizedLSTM.fromFloat(new nn.LSTM(9, 100), qconfig);
    const x = randn(700, 1, 9);
    const [y] = q.forward(x);
    const [a, state] = q.forward(x.slice(0, 0, 341));
    const [b] = q.forward(x.slice(0, 341), state);
    expect(bytesOf(a) + bytesOf(b)).toBe(bytesOf(y));
  }
});

describe('the mode', () => {
  test('is a property, an option, and printed where PyTorch has no such thing', () => {
    const options = { numLayers: 2, activation: 'perRow', reduceRange: false } as const;
    const q = new QuantizedLSTM(3, 4, options);
    expect([q.activation, q.reduceRange]).toEqual(['perRow', false]);
    expect(String(q)).toBe(
      'DynamicQuantizedLSTM(3, 4, num_layers=2, activation=per_row, reduce_range=False)',
    );
    expect(q.stateDict().metadata.get('')).toMatchObject({ activation: 'perRow', reduceRange: false });
    expect(QuantizedLSTM.fromFloat(new nn.LSTM(3, 4), perRowDynamicQConfig).activation).toBe('perRow');
  });
  test('that is too deep for the full range is refused on load, and nothing changes', () => {
    const q = new QuantizedLSTM(65794, 1);
    const state = q.stateDict();
    state.metadata.set('', { type: 'DynamicQuantizedLSTM', reduceRange: false });
    expect(() => q.loadStateDict(state)).toThrow(/input_size should be at most 65793 .* got 65794/);
    expect(q.reduceRange).toBe(true);
  });
});
