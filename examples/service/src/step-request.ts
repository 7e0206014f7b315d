// What a client asks of a live stream, and what is wrong with it.
import { createHash } from 'node:crypto';
import type { Tensor } from 'dynaquant';
import { describe, RequestError } from './errors.js';
import type { Model } from './models.js';
import type { StreamRecord } from './state-store.js';

export interface StepRequest {
  /** 1 to 256 letters, digits and any of `._:-`. */
  readonly sequenceId: string;
  /** Begins the stream, anew if it is there. */
  readonly start?: boolean;
  /** Frees the stream after this request, which may then have no steps. */
  readonly end?: boolean;
  /** A request that comes again with the id of the stream's last one gets that one's answer, and no second step. */
  readonly requestId?: string | undefined;
  /**
   * How many steps the stream should have taken before. One that has taken others is a conflict. It also tells a new
   * request from one that comes again, where a client gives all of them one id.
   */
  readonly position?: number | undefined;
  /** Asked when the request's turn has come: who has gone is not computed for. */
  readonly hasGone?: () => boolean;
}

/** @throws {RequestError} 400 */
export function checkRequest(
  { sequenceId, requestId, end }: StepRequest,
  rows: Tensor,
  model: Model,
  maxSteps: number,
): void {
  checkName('sequence_id', sequenceId);
  const characters = [...(requestId ?? 'none')].length; // not UTF-16 units: as the JSON schema of infer counts
  if (characters === 0 || characters > 256)
    throw new RequestError(
      400,
      `id should have 1 to 256 characters, got ${characters}: ${describe(requestId)}`,
    );
  const { name, datatype, features } = model.input;
  const [dtype, row] = datatype === 'INT64' ? ['int64', []] : ['float32', [features]];
  const { shape } = rows;
  if (rows.dtype !== dtype || shape.length !== 1 + row.length || row.some((size, i) => size !== shape[i + 1]))
    throw new RequestError(
      400,
      `${name} should be ${datatype} of shape [${['steps', ...row].join(', ')}], got ${rows.dtype} of shape [${shape.join(', ')}]`,
    );
  const least = end === true ? 0 : 1;
  if (shape[0]! < least || shape[0]! > maxSteps)
    throw new RequestError(400, `${name} should have ${least} to ${maxSteps} steps, got ${shape[0]}`);
}

/** @throws {RequestError} 400 */
export function checkName(argument: string, name: string): void {
  if (/^[\w.:-]{1,256}$/.test(name)) return;
  const sentence = `${argument} should be 1 to 256 letters, digits or any of . _ : -, got ${describe(name)}`;
  throw new RequestError(400, sentence);
}

/** Whether a request is for a stream that has taken more or fewer steps. */
export function isElsewhere(steps: number, { position, start }: StepRequest): boolean {
  return position !== undefined && position !== (start ? 0 : steps);
}

/**
 * Whether a request is the stream's last one, which comes again: with the same id and content, and before the same step
 * if it says which.
 *
 * @param before - how many steps the stream had taken before its last request
 * @throws {RequestError} 409 when it has the id alone, and nothing says what was meant
 */
export function comesAgain(
  request: StepRequest & { readonly requestId: string },
  digest: string,
  last: StreamRecord,
  before: number,
): boolean {
  const { requestId, sequenceId, position } = request;
  if (requestId !== last.requestId) return false;
  const isSame = digest === last.digest;
  if (position !== undefined) return isSame && position === before;
  if (isSame) return true;
  const sentence = `id should be another for each request of sequence '${sequenceId}', but its last one had the id ${describe(requestId)} and other steps`;
  throw new RequestError(409, sentence);
}

export function digestOf({ start, end }: StepRequest, { data }: Tensor): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash('sha256')
    .update(`${start === true} ${end === true} `)
    .update(bytes)
    .digest('base64');
}
