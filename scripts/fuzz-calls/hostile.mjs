// Values that no honest caller has.
import { createContext, runInContext } from 'node:vm';

/** What a hostile value of the caller's own throws. */
export class CallersError extends Error {}

const fail = () => {
  throw new CallersError("the caller's own");
};
const otherRealm = createContext({});

/** Makers of hostile values, and of `rare` ones that take long. `plausible` makes any right value. */
export function hostileValues({ dynaquant, random, pool, plausible, folder }) {
  const { nn, Tensor } = dynaquant;
  const cyclic = () => {
    const array = [];
    array.push(array);
    return array;
  };
  const detached = () => {
    const data = new Float32Array(2);
    structuredClone(data, { transfer: [data.buffer] });
    return data;
  };
  const lying = (length) => Object.defineProperty(new Float32Array(2), 'length', { value: length });
  const revoked = (target) => {
    const { proxy, revoke } = Proxy.revocable(target, {});
    revoke();
    return proxy;
  };
  const changing = () => {
    let reads = 0;
    const first = plausible();
    const second = plausible();
    return { get: () => (reads++ === 0 ? first : second), enumerable: true };
  };
  const endless = (make) => ({
    *[Symbol.iterator]() {
      for (;;) yield make;
    },
  });
  const unsteady = (target) =>
    new Proxy(target, { get: (self, key) => (random(8) === 0 ? plausible() : Reflect.get(self, key)) });
  class ThrowingModule extends nn.Module {
    forward() {
      return fail();
    }
    get extra() {
      return fail();
    }
  }
  class Sub extends Float32Array {
    get length() {
      return 6;
    }
    static get [Symbol.species]() {
      return fail();
    }
  }
  const hostile = [
    ...[
      undefined,
      null,
      true,
      NaN,
      Infinity,
      -Infinity,
      -0,
      -1,
      1.5,
      300,
      2 ** 45,
      2 ** 53,
      -(2 ** 53),
      1e300,
      1n,
      -1n,
      2n ** 70n,
    ].map((value) => () => value),
    ...['', 'x', '__proto__', 'constructor', 'weight', 'a\0b', '\ud800', 'é'.repeat(300)].map(
      (value) => () => value,
    ),
    () => Symbol('hostile'),
    () => ({}),
    () => Object.create(null),
    () => [],
    () => [[]],
    () => [NaN],
    () => [undefined],
    () => ['x'],
    () => [2 ** 45],
    () => [2 ** 33, 0],
    () => [2 ** 52, 2 ** 52, 0],
    () => new Array(2 ** 32 - 1),
    () => [, 1],
    cyclic,
    () => [[cyclic()]],
    () => Array.from({ length: 20 }).reduce((all) => [all, all, all, all], 1),
    () => fail,
    () => ThrowingModule,
    () => async () => fail(),
    () => Promise.resolve(1),
    () => new Date(NaN),
    () => /x/g,
    () => new Map(),
    () => new Map([['a', 1]]),
    () => new Set(),
    () => new WeakMap(),
    () => new ArrayBuffer(8),
    () => new SharedArrayBuffer(8),
    () => new DataView(new ArrayBuffer(8)),
    () => Buffer.from('abcd'),
    () => new BigUint64Array(2),
    () => new Float32Array(new SharedArrayBuffer(8)),
    () => new Uint8Array(2512),
    () => new Uint8Array(2512).fill(255),
    () => new Float32Array(300).fill(NaN),
    detached,
    () => lying(0),
    () => lying(6),
    () => lying(2 ** 40),
    () => lying('x'),
    () => new Sub(2),
    () => new Sub(new SharedArrayBuffer(8)),
    () => Object.defineProperty(new Float32Array(2), 'buffer', { get: fail }),
    () => Object.defineProperty(new Float32Array(2), Symbol.toStringTag, { value: 'BigInt64Array' }),
    () => revoked({}),
    () => revoked([]),
    () => revoked(() => 1),
    () => new Proxy({}, { get: fail }),
    () => new Proxy([], { get: fail }),
    () => new Proxy([1, 2], { ownKeys: fail, has: fail }),
    () => new Proxy(pool.pick('tensor') ?? {}, {}),
    () => new Proxy(pool.pick('module') ?? {}, {}),
    () => unsteady([2, 2]),
    () => unsteady({ dtype: 'float32' }),
    () => ({
      get dtype() {
        return fail();
      },
      get generator() {
        return fail();
      },
    }),
    () => ({ valueOf: fail, toString: fail, [Symbol.toPrimitive]: fail, toJSON: fail }),
    () => ({ valueOf: () => 2, toString: () => '2' }),
    () => ({ length: 2, 0: 1, 1: 2 }),
    () => ({ [Symbol.iterator]: fail }),
    () => ({ [Symbol.iterator]: () => ({ next: fail }) }),
    () => ({ [Symbol.iterator]: () => ({ next: () => undefined }) }),
    () => ({ [Symbol.iterator]: 1 }),
    () => ({ [Symbol.toStringTag]: 'Map', size: 1 }),
    () => Object.create(Tensor.prototype),
    () => Object.create(nn.Linear.prototype),
    () => Object.create(dynaquant.Generator.prototype),
    () => ({ data: [1, 2], shape: [2], dtype: 'float32' }),
    () => Object.freeze(new nn.Linear(2, 2)),
    () => Object.freeze(dynaquant.ones(2)),
    () => new ThrowingModule(),
    () => ({ bytes: () => new Uint8Array(2512) }),
    () => ({ bytes: fail }),
    () => ({ stat: fail, read: fail }),
    () => ({ stat: () => ({}), read: () => ({}) }),
    () =>
      Object.defineProperties(
        {},
        { dtype: changing(), bias: changing(), generator: changing(), numLayers: changing() },
      ),
    () => runInContext('[2, 2]', otherRealm),
    () => runInContext('new Float32Array(4)', otherRealm),
    () => runInContext('new Map([["a", 1]])', otherRealm),
    () => runInContext('({ dtype: "float32" })', otherRealm),
    () => new URL('file:///nowhere/%2F'),
    () => new URL('http://localhost/'),
    () => '/dev/null',
    () => '/',
    () => folder,
    () => JSON.parse('{"__proto__":{"dtype":"int8"}}'),
    () => structuredClone(pool.pick('tensor') ?? {}),
    () => [pool.pick('module')],
    () => [['a', pool.pick('tensor')]],
    () => [[1, pool.pick('tensor')]],
    () => ({ a: pool.pick('module') }),
  ];
  const rare = [() => endless(1), () => endless(['a', dynaquant.ones(1)]), () => endless(new nn.ReLU())];

  return { hostile, rare };
}
