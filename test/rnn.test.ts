import * as nn from '../src/nn/index.js';
import { zeros } from '../src/tensor/index.js';
import { testFloatLayer, testInit } from './recurrent.js';

testFloatLayer('RNN', 17);
testInit('RNN', 2);

test('the nonlinearity', () => {
  const rnn = new nn.RNN(4, 5, { nonlinearity: 'relu' });
  expect([rnn.mode, rnn.nonlinearity, String(rnn)]).toEqual(['RNN_RELU', 'relu', 'RNN(4, 5)']);
  expect(new nn.RNN(4, 5).nonlinearity).toBe('tanh');
  expect(rnn.stateDict().metadata.get('')).toMatchObject({ type: 'RNN', nonlinearity: 'relu' });
  for (const nonlinearity of ['gelu', null, '__proto__']) {
    expect(() => new nn.RNN(4, 5, { nonlinearity: nonlinearity as never })).toThrow(
      /^Unknown nonlinearity .*. Select from 'tanh' or 'relu'./,
    );
  }
});

test('errors name the class', () => {
  const rnn = new nn.RNN(4, 5);
  expect(() => rnn.forward(zeros(4))).toThrow('RNN: Expected input to be 2D or 3D, got 1D instead');
  expect(() => rnn.forward(zeros(3, 2, 4), zeros(1, 1, 5))).toThrow(
    'Expected hidden size (1, 2, 5), got [1, 1, 5]',
  );
  expect(() => new nn.RNN(4, 5, { projSize: 2 } as never)).toThrow(/only supported for LSTM/);
});
