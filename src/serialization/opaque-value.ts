import { checkString, describe, typeError } from '../errors.js';

/**
 * What a checkpoint holds where Python would call a function or make an object of a class that is no plain data: an
 * `argparse.Namespace`, a path, a config object, a loss, a whole module. It is what the file says, as plain data.
 * Nothing was called or imported. It may contain itself, as the object in Python did.
 *
 * ```ts
 * const checkpoint = await load<Map<string, unknown>>('lightning.ckpt');
 * const args = checkpoint.get('args') as OpaqueValue;
 *
 * console.log(String(args)); // OpaqueValue(argparse.Namespace)
 * const values = args.state as Map<string, unknown>;
 * ```
 */
export class OpaqueValue {
  /** The dotted name of the class or function: `argparse.Namespace`. */
  readonly type: string;
  /** What it would have been called with. Empty for an object made without arguments, and for a mere name. */
  readonly args: unknown[];
  /** What the object would have been given after: mostly a Map of its attributes. Null if nothing. */
  readonly state: unknown;
  /** What would have been added to it: a Map of a dict's entries, an array of a list's items. Null if nothing. */
  readonly items: ReadonlyMap<unknown, unknown> | readonly unknown[] | null;

  /** @throws {TypeError} when `type` is no string, or `args` no array */
  constructor(type: string, args: unknown[] = [], state: unknown = null, items: OpaqueValue['items'] = null) {
    checkString('type', type);
    if (!Array.isArray(args))
      throw typeError('ERR_INVALID_ARG_TYPE', `args should be an array, got ${describe(args)}`);
    this.type = type;
    this.args = args;
    this.state = state;
    this.items = items;
  }

  /** `OpaqueValue(argparse.Namespace)`. */
  toString(): string {
    return `OpaqueValue(${this.type})`;
  }
}
