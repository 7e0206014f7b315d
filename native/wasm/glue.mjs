// SPDX-License-Identifier: MIT
// What makes an addon of the WebAssembly module: Node-API by emnapi, and how arrays travel.
//
// The module reads and writes its own memory alone. An array that it asks for is copied into that memory, and back when
// the call from JavaScript has returned. The same array in one call is one copy.
import { instantiateNapiModule, instantiateNapiModuleSync } from '@emnapi/core';
import { createContext } from '@emnapi/runtime';

import { isFused } from './fused.mjs';

/** The name of the module for this engine. */
export const moduleName = () => (isFused() ? 'dynaquant-relaxed.wasm' : 'dynaquant.wasm');

/** The addon of a compiled module, at once. */
export function instantiateSync(module) {
  const memory = new Borrowed();
  return memory.addonOf(instantiateNapiModuleSync(module, memory.options()));
}

/** The same, where instances of this size must not be made at once: in a browser's main thread. */
export async function instantiate(module) {
  const memory = new Borrowed();
  return memory.addonOf(await instantiateNapiModule(module, memory.options()));
}

// Node-API's numbers of the typed arrays that the bindings know.
const numbers = {
  Int8Array: 0,
  Uint8Array: 1,
  Uint16Array: 4,
  Int32Array: 5,
  Float32Array: 7,
  Float64Array: 8,
  BigInt64Array: 9,
};
const invalidArgument = 1;
const genericFailure = 9;

/** The arrays of the calls that run. */
class Borrowed {
  context = this.returningContext();
  /** The exports of the instance. */
  module;
  /** Copies: `{ array, address }`, and how many of them belong to the calls outside of the present one. */
  copies = [];
  outer = 0;
  /** Views of the whole memory, by the names of their classes. */
  views = {};

  options() {
    return {
      context: this.context,
      beforeInit: ({ instance }) => {
        this.module = instance.exports;
        this.module._initialize();
      },
      overwriteImports: (imports) => {
        imports.napi.napi_get_typedarray_info = (...args) => this.typedArrayInfo(...args);
        return imports;
      },
    };
  }

  /** Node-API's context. All calls into the module go through one method, and give back what they borrowed. */
  returningContext() {
    const context = createContext();
    const { createEnv } = context;
    context.createEnv = (...args) => {
      const env = createEnv.apply(context, args);
      const { callIntoModule } = env;
      env.callIntoModule = (...args) => {
        const { outer } = this;
        this.outer = this.copies.length;
        try {
          return callIntoModule.apply(env, args);
        } finally {
          this.giveBack();
          this.outer = outer;
        }
      };
      return env;
    };
    return context;
  }

  addonOf({ napiModule: { exports: addon } }) {
    if (addon.isas().includes('wasm_relaxed') && !isFused()) {
      throw new Error('dynaquant-relaxed.wasm would give other results here: take dynaquant.wasm');
    }
    const name = crypto.getRandomValues(new Uint32Array(4)).join('-');
    addon.callMemory = { name, callLayout: addon.callLayout, statusNames: addon.statusNames };
    const { slots, slotFloats, words, wordCount } = addon.callAddresses;
    this.share(addon, 'callSlots', () => new Float32Array(this.module.memory.buffer, slots, slotFloats));
    this.share(addon, 'callWords', () => new Float64Array(this.module.memory.buffer, words, wordCount));
    return addon;
  }

  /** Memory that grows is another buffer. Views of the old one are empty then, and made again. */
  share(addon, name, view) {
    let current = view();
    const get = () => (current.length === 0 ? (current = view()) : current);
    for (const object of [addon, addon.callMemory]) Object.defineProperty(object, name, { get });
  }

  /** Node-API's function of this name, as the bindings use it. */
  typedArrayInfo(_env, handle, type, length, data) {
    const array = this.context.handleStore.get(handle)?.value;
    const name = ArrayBuffer.isView(array) ? array[Symbol.toStringTag] : undefined;
    const number = numbers[name];
    if (number === undefined) return invalidArgument;
    const address = this.borrow(array, name);
    if (address === 0 && array.length > 0) return genericFailure;
    const words = this.view(Uint32Array, 'Uint32Array');
    words[type >>> 2] = number;
    words[length >>> 2] = array.length;
    words[data >>> 2] = address;
    return 0;
  }

  /** The address of a copy, or 0 if there is no memory for it. */
  borrow(array, name) {
    for (let i = this.outer; i < this.copies.length; i++) {
      if (this.copies[i].array === array) return this.copies[i].address;
    }
    const address = array.byteLength < 2 ** 32 ? this.module.malloc(array.byteLength) >>> 0 : 0;
    if (address === 0) return 0;
    this.view(array.constructor, name).set(array, address / array.BYTES_PER_ELEMENT);
    this.copies.push({ array, name, address });
    return address;
  }

  giveBack() {
    while (this.copies.length > this.outer) {
      const { array, name, address } = this.copies.pop();
      // Results are never in memory that others write at the same time.
      if (!isShared(array.buffer)) {
        const first = address / array.BYTES_PER_ELEMENT;
        array.set(this.view(array.constructor, name).subarray(first, first + array.length));
      }
      this.module.free(address);
    }
  }

  view(View, name) {
    const { buffer } = this.module.memory;
    const view = this.views[name];
    return view?.buffer === buffer ? view : (this.views[name] = new View(buffer));
  }
}

function isShared(buffer) {
  return Object.prototype.toString.call(buffer) === '[object SharedArrayBuffer]';
}
