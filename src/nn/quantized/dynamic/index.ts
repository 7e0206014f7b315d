export {
  GRUCell,
  LSTMCell,
  RNNCell,
  type QuantizedCellOptions,
  type QuantizedRNNCellOptions,
} from './cells.js';
export { GRU, type QuantizedGRUOptions } from './gru.js';
export { Linear, LinearReLU, type QuantizedLinearOptions } from './linear.js';
export { LSTM, type QuantizedLSTMOptions } from './lstm.js';
export { MultiheadAttention, type QuantizedMultiheadAttentionOptions } from './multihead-attention.js';
export { RNN, type QuantizedRNNOptions } from './rnn.js';
export type { DynamicOptions } from '../qconfig.js';
