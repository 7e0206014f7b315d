export { Linear } from './linear.js';
export { LSTM } from './lstm.js';
