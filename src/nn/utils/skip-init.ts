import { describe, typeError } from '../../errors.js';
import { onMeta } from '../meta.js';
import { isModule, Module } from '../module.js';

/**
 * `new moduleClass(...args)` whose parameters have shapes but no numbers yet, as PyTorch's `skip_init` and its
 * `with torch.device('meta')`: nothing is drawn and no memory is taken. It works for every class of modules, a model of
 * your own too, because everything that its constructor builds is built so. `loadStateDict` then gives the parameters
 * the memory of the file's tensors, so that building and loading a model costs reading its file:
 *
 * ```ts
 * const model = nn.utils.skipInit(MyModel, config);
 * model.loadStateDict(await load('model.safetensors'));
 * ```
 *
 * The functions of `nn.init`, `fill_` and `copy_` give a parameter numbers too; within the constructor `nn.init` leaves
 * parameters without them. Until then `isMeta` of a parameter is true, and whatever reads it (`forward`, `save`) throws a
 * `RangeError` with the code `ERR_NOT_LOADED`. `quantizeDynamic` makes quantized modules without weights of it, which
 * load those of a quantized file. What your constructor makes itself (a `Parameter`, a buffer, quantized modules) has
 * numbers as always.
 *
 * @param moduleClass - a class of modules
 * @param args - those of its constructor
 * @throws {TypeError} when `moduleClass` is none, or one of another copy of the package, and what its constructor throws
 */
export function skipInit<M extends Module, A extends unknown[]>(
  moduleClass: new (...args: A) => M,
  ...args: A
): M {
  const { prototype } = (typeof moduleClass === 'function' ? moduleClass : {}) as { prototype?: object };
  if (prototype === undefined || !isModule(Object.create(prototype, { training: { value: true } })))
    throw typeError('ERR_INVALID_ARG_TYPE', `Expected a Module class, got ${describe(moduleClass)}`);
  // Another copy's constructors would draw numbers all the same.
  // eslint-disable-next-line no-restricted-syntax -- copies differ here
  if (!(prototype instanceof Module)) {
    const sentence = `Expected a class of this copy of the package, got ${describe(moduleClass)} of another`;
    throw typeError('ERR_INVALID_ARG_TYPE', sentence);
  }
  return onMeta(() => new moduleClass(...args));
}
