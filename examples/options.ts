/** Returns what `parse` returns. If `parse` throws, prints the error as one line on stderr and exits with code 2. */
export function orExit<T>(example: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const [line] = (error as Error).message.split('\n');
    process.stderr.write(`${example}: ${line!.replace(/\. To specify.*/, '')}\n`);
    process.exit(2);
  }
}

/** The value of an option that counts something. */
export function wholeNumber(
  option: string,
  text: string | undefined,
  byDefault: number,
  most: number,
): number {
  if (text === undefined) return byDefault;
  if (!/^[1-9]\d{0,8}$/.test(text) || Number(text) > most) {
    throw new Error(`--${option} should be a whole number from 1 to ${most}, got '${text}'`);
  }
  return Number(text);
}
