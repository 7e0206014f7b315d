/** What a client did wrong, or why it is not served now. Its sentence goes out as `{"error": "…"}`. */
export class RequestError extends Error {
  constructor(
    readonly statusCode: number,
    message: string,
    /** Seconds after which another attempt may succeed. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Why nothing is computed for whom nobody can answer. */
export function clientHasGone(): RequestError {
  return new RequestError(499, 'the client has gone');
}

/** Why an instance that is to end serves nothing new. */
export function instanceCloses(): RequestError {
  return new RequestError(503, 'this instance closes: send the request to another one', 1);
}

/** A value for an error sentence: short, and safe whatever it is. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'object') return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 50 ? `${text.slice(0, 50)}…` : text;
}

/**
 * What a model refuses to compute, such as numbers that overflow, is the client's error; anything else is ours.
 *
 * @param where - the client's name for the numbers
 */
export function refusedNumbers(error: unknown, where = 'data'): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  return typeof code === 'string' && code.startsWith('ERR_')
    ? new RequestError(400, `${where} should be numbers that the model can compute with, but ${message}`)
    : error;
}
