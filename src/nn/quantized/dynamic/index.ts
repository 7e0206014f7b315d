export { Linear, type QuantizedLinearOptions } from './linear.js';
export { LSTM, type QuantizedLSTMOptions } from './lstm.js';
