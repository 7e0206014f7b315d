import { typeError } from '../errors.js';

// What modules use of Node's globals, for browsers.

// eslint-disable-next-line no-console -- where a browser shows warnings
export const process = { emitWarning: (warning: string): void => console.warn(warning) };

/** Any memory is zeroed there. */
export const Buffer = { allocUnsafeSlow: (bytes: number): Uint8Array => new Uint8Array(bytes) };

const waiting: (() => void)[] = [];
const channel = new MessageChannel() as { port1: object; port2: { postMessage(message: null): void } };
Object.assign(channel.port1, { onmessage: () => waiting.shift()!() });

/** The next turn of the event loop. A timer would wait for 4 ms. */
export function setImmediate(callback: () => void): void {
  waiting.push(callback);
  channel.port2.postMessage(null);
}

/** Pages have no such class unless they are isolated from others. */
export const SharedArrayBuffer: unknown =
  globalThis.SharedArrayBuffer ??
  class {
    get byteLength(): never {
      throw typeError('ERR_INVALID_ARG_TYPE', 'this is no SharedArrayBuffer');
    }
  };
