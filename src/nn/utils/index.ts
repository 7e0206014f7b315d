export { skipInit } from './init.js';
export * as rnn from './rnn.js';
