// The bodies of infer: JSON, or JSON and the bytes of tensors after it (the protocol's binary extension).
import { RequestError, describe } from './errors.js';
import type { TensorJSON } from './v2-tensors.js';

export const lengthHeader = 'inference-header-content-length';

export interface InferParameters {
  readonly sequence_id?: string | number;
  readonly sequence_start?: boolean;
  readonly sequence_end?: boolean;
  /** How many steps the client knows that its stream has taken. */
  readonly sequence_steps?: number;
  readonly binary_data_output?: boolean;
}

export interface InferBody {
  readonly id?: string;
  readonly parameters?: InferParameters;
  readonly inputs: readonly TensorJSON[];
  readonly outputs?: readonly {
    readonly name: string;
    readonly parameters?: {
      readonly binary_data?: boolean;
      readonly classification?: unknown;
      readonly shared_memory_region?: unknown;
    };
  }[];
}

/** What the JSON schema cannot say is in v2-tensors.ts, beside the model. */
export const inferSchema = {
  type: 'object',
  required: ['inputs'],
  additionalProperties: false,
  properties: {
    id: { type: 'string', maxLength: 256 },
    // Clients may send parameters for other servers too, which are passed over.
    parameters: {
      type: 'object',
      properties: {
        sequence_id: {
          type: ['string', 'integer'],
          maxLength: 256,
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
        },
        sequence_start: { type: 'boolean' },
        sequence_end: { type: 'boolean' },
        sequence_steps: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
        binary_data_output: { type: 'boolean' },
      },
    },
    inputs: {
      type: 'array',
      minItems: 1,
      maxItems: 1,
      items: {
        type: 'object',
        required: ['name', 'shape', 'datatype'],
        additionalProperties: false,
        properties: {
          name: { type: 'string' },
          shape: {
            type: 'array',
            maxItems: 8,
            items: { type: 'integer', minimum: 0, maximum: 2 ** 31 },
          },
          datatype: { type: 'string' },
          parameters: {
            type: 'object',
            properties: { binary_data_size: { type: 'integer', minimum: 0 } },
          },
          data: { type: 'array' },
        },
      },
    },
    outputs: {
      type: 'array',
      maxItems: 1,
      items: {
        type: 'object',
        required: ['name'],
        additionalProperties: false,
        properties: {
          name: { type: 'string' },
          parameters: { type: 'object', properties: { binary_data: { type: 'boolean' } } },
        },
      },
    },
  },
} as const;

export interface ParsedBody {
  readonly json: unknown;
  /** What follows the JSON; undefined where the header does not say that something does. */
  readonly rest: Buffer | undefined;
}

/** @throws {RequestError} 400 when the header and the body do not fit together, or the JSON is none */
export function parseBody(body: Buffer, header: string | string[] | undefined): ParsedBody {
  let json = body;
  let rest: Buffer | undefined;
  if (header !== undefined) {
    const length = typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : NaN;
    if (!(length <= body.length)) {
      const expected = `the length of the JSON, at most the ${body.length} bytes of the body`;
      throw new RequestError(
        400,
        `Inference-Header-Content-Length should be ${expected}, got ${describe(header)}`,
      );
    }
    json = body.subarray(0, length);
    rest = body.subarray(length);
  }
  try {
    return { json: JSON.parse(json.toString()), rest };
  } catch (error) {
    throw new RequestError(400, `the body should be JSON: ${(error as Error).message}`);
  }
}

/**
 * The bytes of the input, undefined if it has its data in the JSON.
 *
 * @throws {RequestError} 400 when sizes do not fit together
 */
export function inputBytes(input: TensorJSON, rest: Buffer | undefined): Buffer | undefined {
  const size = input.parameters?.binary_data_size;
  const name = 'inputs[0].parameters.binary_data_size';
  if (size === undefined) {
    if (rest !== undefined && rest.length > 0)
      throw new RequestError(
        400,
        `${name} should be ${rest.length}, because so many bytes follow the JSON, got none`,
      );
    return undefined;
  }
  if (input.data !== undefined)
    throw new RequestError(400, `inputs[0] should have data or parameters.binary_data_size, not both`);
  if (size !== rest?.length) {
    const follow =
      rest === undefined ? 'there is no Inference-Header-Content-Length' : `${rest.length} follow the JSON`;
    throw new RequestError(
      400,
      `${name} should be the number of bytes after the JSON, got ${size}, but ${follow}`,
    );
  }
  return rest;
}

interface SchemaError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: Record<string, unknown>;
  readonly message?: string;
  readonly data?: unknown;
}

/** A sentence for the first error that a schema's validator found in a part of a request: its body, its querystring. */
export function schemaSentence(errors: readonly SchemaError[], part: string): string {
  const { instancePath, keyword, params, message, data } = errors[0]!;
  const path = instancePath
    .replace(/\/(\d+)/g, '[$1]')
    .replaceAll('/', '.')
    .replace(/^\./, '');
  const name = path === '' ? `the ${part}` : path;
  switch (keyword) {
    case 'required':
      return `${name} should have '${params['missingProperty']}'`;
    case 'additionalProperties':
      return `${name} should not have ${describe(params['additionalProperty'])}`;
    case 'type':
      return `${name} should be ${[params['type']].flat().map(withArticle).join(' or ')}, got ${describe(data)}`;
    default:
      return `${name} ${String(message).replace('must', 'should').replace('NOT', 'not')}, got ${describe(data)}`;
  }
}

function withArticle(type: unknown): string {
  return `${/^[aio]/.test(String(type)) ? 'an' : 'a'} ${String(type)}`;
}
