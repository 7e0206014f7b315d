import { parseArgs } from 'node:util';

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

/** Options of the examples that run whole models. */
export interface ModelOptions {
  /** Where the models' inputs are saved, for PyTorch to run on the same. */
  inputs: string | undefined;
  json: boolean;
}

/** Reads the options of an example that runs a whole model. */
export function modelOptions(example: string, what: string): ModelOptions {
  return orExit(example, () => {
    const { values } = parseArgs({
      options: {
        inputs: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`Usage: npm run example -- ${example} [options]

${what}

  --inputs FILE  save what the model gets (safetensors) and end; expected.py needs it
  --json         print one JSON document instead of text
  --help         this text
`);
      process.exit(0);
    }
    return { inputs: values.inputs, json: values.json };
  });
}
