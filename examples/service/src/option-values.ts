// Values of options, whether they come from environment variables or from the command line.

/** @throws {RangeError} naming the option, what it should be and what it is */
export function integerOf(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= most))
    throw new RangeError(`${name} should be an integer from ${least} to ${most}, got '${text}'`);
  return value;
}

/** Where Redis is. `local` says that one is to be started. Undefined where nothing is given. @throws {RangeError} */
export function redisOf(name: string, url: string | undefined): string | undefined {
  if (url === undefined || url === '') return undefined;
  const isURL = URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol);
  if (url !== 'local' && !isURL && !url.startsWith('/'))
    throw new RangeError(`${name} should be redis://…, rediss://…, the path of a socket or local`); // it may hold a password
  return url;
}
