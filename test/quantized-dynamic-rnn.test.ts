import * as nn from '../src/nn/index.js';
import {
  testEveryIsa,
  testLargeBatches,
  testFewUnits,
  testHostile,
  testModes,
  testPerRow,
  testRoundTrip,
} from './recurrent.js';

// PyTorch has no quantized RNN: the reference is the model in numpy that makes the modes.
testModes('RNN', 5);
testEveryIsa('RNN');
testLargeBatches('RNN');
testFewUnits('RNN');
testPerRow('RNN');
testPerRow('RNN', { nonlinearity: 'relu' });
testRoundTrip('RNN', { num_layers: 2, bidirectional: true });
testRoundTrip('RNN', { nonlinearity: 'relu', bias: false });
testHostile('RNN');

test('prints as a quantized GRU does', () => {
  const rnn = new nn.quantized.dynamic.RNN(4, 5, { nonlinearity: 'relu', numLayers: 2, dtype: 'float16' });
  expect(String(rnn)).toBe('DynamicQuantizedRNN(4, 5, num_layers=2)');
  expect([rnn.nonlinearity, rnn.dtype, rnn.activation, rnn.reduceRange]).toEqual([
    'relu',
    'float16',
    undefined,
    undefined,
  ]);
});
