export { consumePrefixInStateDictIfPresent } from './consume-prefix.js';
export { skipInit } from './skip-init.js';
/** Sequences of unequal length, as PyTorch's `torch.nn.utils.rnn`. */
export * as rnn from './rnn.js';
export { composeReparametrizations } from './reparametrize.js';
