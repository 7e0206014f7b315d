export * as dynamic from './dynamic/index.js';
