// How much of a call's time dynaquant spends in native code: clocks around the addon's functions.
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { packageRoot, type Profile } from './run.js';

/** The addon's functions and classes whose time is that of products: matrices, convolutions and recurrent layers. */
const products = /linear|matrix|matmul|bmm|conv|rnn|lstm|gru|attention/i;

/** A call of a whole layer leaves the nanoseconds of its products in the numbers that it was given, if asked. */
const geometryOf = (args: readonly unknown[]): Float64Array => args[7] as Float64Array;

type Callable = (...args: unknown[]) => unknown;
type Class = new (...args: unknown[]) => object;

export interface NativeClock {
  /** The profile of the fastest of many batches; `batch` makes `calls` calls and returns the microseconds of one. */
  profile(batch: (calls: number) => Promise<number>, calls: number): Promise<Profile>;
}

/** Must come before dynaquant loads its addon. */
export function clockNative(): NativeClock {
  const spent = { products: 0, others: 0 };
  const clocked = (name: string, call: Callable): Callable => {
    const kind = products.test(name) ? 'products' : 'others';
    const isLayer = name === 'encodeLayer';
    return function (this: unknown, ...args) {
      if (isLayer) geometryOf(args).fill(1, -1);
      const start = performance.now();
      try {
        return call.apply(this, args);
      } finally {
        const took = performance.now() - start;
        const inProducts = isLayer ? geometryOf(args)[0]! / 1e6 : 0;
        spent.products += inProducts;
        spent[kind] += took - inProducts;
      }
    };
  };
  const load = createRequire(__filename);
  const file = join(packageRoot, 'build', 'Release', 'addon.node');
  const addon = load(file) as Record<string, unknown>;
  load.cache[file]!.exports = Object.fromEntries(
    Object.entries(addon).map(([name, value]) => {
      if (typeof value !== 'function') return [name, value];
      const methods = Object.getOwnPropertyNames(value.prototype ?? {}).filter(
        (each) => each !== 'constructor',
      );
      return [
        name,
        methods.length > 0
          ? clockedClass(name, value as Class, methods, clocked)
          : clocked(name, value as Callable),
      ];
    }),
  );
  return {
    async profile(batch, calls) {
      let best = { us: Infinity, products: 0, native: 0 };
      for (let spentUs = 0, n = 0; n < 10 || spentUs < 1e6; n++) {
        spent.products = spent.others = 0;
        const us = await batch(calls);
        spentUs += us * calls;
        const inProducts = (1000 * spent.products) / calls;
        const inOthers = (1000 * spent.others) / calls;
        if (us < best.us) best = { us, products: inProducts, native: inProducts + inOthers };
      }
      return { outsideProducts: 1 - best.products / best.us, outsideNative: 1 - best.native / best.us };
    },
  };
}

/** The class with clocks around its methods; getters stay. */
function clockedClass(
  name: string,
  Base: Class,
  methods: readonly string[],
  clocked: (name: string, call: Callable) => Callable,
): Class {
  const Clocked = class extends Base {};
  for (const method of methods) {
    const { value } = Object.getOwnPropertyDescriptor(Base.prototype, method)! as { value?: Callable };
    if (value === undefined) continue;
    Object.defineProperty(Clocked.prototype, method, { value: clocked(name, value) });
  }
  return Clocked;
}
