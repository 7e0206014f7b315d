// Writes ONNX files by hand, for tests of files that no exporter writes. The numbers are those of onnx.proto's fields.

type Value = number | bigint | string | Uint8Array;

/** A field of a protobuf message: integers as varints, texts and messages with their length before them. */
export function field(number: number, value: Value): Buffer {
  if (typeof value === 'number' || typeof value === 'bigint')
    return Buffer.concat([varint(number * 8), varint(value)]);
  const bytes = Buffer.from(value as Uint8Array);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

export function message(...fields: Buffer[]): Buffer {
  return Buffer.concat(fields);
}

const isText = (value: unknown): value is string => typeof value === 'string';

/** AttributeProto: an integer, a float, a text, a list of texts or integers, or a message that is done. */
function attribute(name: string, value: unknown): Buffer {
  const own = field(1, name);
  if (typeof value === 'number' && Number.isInteger(value)) return message(own, field(3, value));
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(5);
    bytes[0] = 2 * 8 + 5;
    bytes.writeFloatLE(value, 1);
    return message(own, bytes);
  }
  if (isText(value)) return message(own, field(4, value));
  if (Buffer.isBuffer(value)) return message(own, value);
  const list = value as (string | number)[];
  return message(own, ...list.map((each) => field(isText(each) ? 9 : 8, each)));
}

export interface NodeOptions {
  name?: string;
  domain?: string;
  [attribute: string]: unknown;
}

export function node(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  { name = '', domain = '', ...attributes }: NodeOptions = {},
): Buffer {
  return field(
    1,
    message(
      ...inputs.map((each) => field(1, each)),
      ...outputs.map((each) => field(2, each)),
      field(3, name),
      field(4, op),
      ...Object.entries(attributes).map(([key, value]) => field(5, attribute(key, value))),
      field(7, domain),
    ),
  );
}

/** A TensorProto in the graph. `fields` hold its elements. */
export function initializer(
  name: string,
  dataType: number,
  shape: readonly (number | bigint)[],
  ...fields: Buffer[]
): Buffer {
  return field(
    5,
    message(...shape.map((size) => field(1, size)), field(2, dataType), field(8, name), ...fields),
  );
}

/** A float32 tensor of ascending numbers. */
export function floats(name: string, ...shape: number[]): Buffer {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = Float32Array.from({ length: count }, (_, i) => i / 8);
  return initializer(name, 1, shape, field(9, new Uint8Array(data.buffer)));
}

export function int64s(name: string, ...values: number[]): Buffer {
  return initializer(name, 7, [values.length], field(7, message(...values.map(varint))));
}

/** ModelProto of IR version 8 around the parts of a graph. */
export function model(...parts: Buffer[]): Buffer {
  return message(field(1, 8), field(2, 'test'), field(7, message(...parts)));
}
