#!/usr/bin/env node
// The command `dynaquant`. Exit code 0: all is well; 1: it found a problem, or failed; 2: it was called wrongly.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';

import { manualSeed } from '../index.js';
import { collectGarbage } from '../garbage.js';
import { inspect, inspectHelp } from './inspect.js';
import { quantize, quantizeHelp } from './quantize.js';
import { oneLine, UsageError } from './terminal.js';
import { verify, verifyHelp } from './verify.js';

const help = `Usage: dynaquant COMMAND …

Quantizes checkpoints of recurrent models as PyTorch's quantize_dynamic does, without Python or a model's class.
Files are safetensors, or of PyTorch, NumPy, ONNX or Keras; nothing in them is ever run.

  inspect FILE            the modules of a checkpoint, and what would be quantized
  quantize IN -o OUT      quantize a checkpoint
  verify FLOAT QUANT      run both on random input and compare

  dynaquant COMMAND --help   the options of a command, with examples

Example
  dynaquant inspect model.pt
  dynaquant quantize model.pt -o model.int8.safetensors
  dynaquant verify model.pt model.int8.safetensors

Exit codes: 0 fine, 1 a problem was found or something failed, 2 the command was called wrongly.
`;

const flag = { type: 'boolean', default: false } as const;
const text = { type: 'string' } as const;
const list = { type: 'string', multiple: true, default: [] as string[] } as const;

/** How to open a file, in every command. */
const modelOptions = { key: list, set: list, bidirectional: list } as const;

function parse<T extends NonNullable<ParseArgsConfig['options']>>(args: string[], options: T) {
  try {
    const config = { args, options: { ...options, json: flag, help: flag }, allowPositionals: true } as const;
    return parseArgs(config);
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\. To specify.*/s, ''));
  }
}

function expectFiles(files: readonly string[], names: readonly string[]): void {
  if (files.length !== names.length) {
    throw new UsageError(`expected ${names.join(' and ')}, got ${files.length} file names`);
  }
}

async function runInspect(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, modelOptions);
  if (values.help) return print(inspectHelp);
  expectFiles(positionals, ['FILE']);
  return print(`${await inspect(positionals[0]!, values, values.json)}\n`);
}

async function runQuantize(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, {
    output: { ...text, short: 'o' },
    dtype: { ...text, default: 'qint8' },
    'per-channel': flag,
    'per-row': flag,
    'full-range': flag,
    best: flag,
    only: list,
    exclude: list,
    layer: list,
    strict: flag,
    input: text,
    ...modelOptions,
  });
  if (values.help) return print(quantizeHelp);
  expectFiles(positionals, ['IN']);
  if (values.output === undefined) throw new UsageError('-o OUT is missing');
  const { best } = values;
  const options = {
    output: values.output,
    dtype: values.dtype,
    perChannel: best || values['per-channel'],
    perRow: best || values['per-row'],
    fullRange: best || values['full-range'],
    only: values.only,
    exclude: values.exclude,
    layer: values.layer,
    strict: values.strict,
    input: values.input,
    key: values.key,
    set: values.set,
    bidirectional: values.bidirectional,
  };
  const report = await quantize(positionals[0]!, options, values.json);
  print(`${report.text}\n`);
  return report.passed ? 0 : 1;
}

async function runVerify(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, { tolerance: text, input: text, ...modelOptions });
  if (values.help) return print(verifyHelp);
  expectFiles(positionals, ['FLOAT', 'QUANT']);
  const [float, quantized] = positionals as [string, string];
  const { output, passed } = await verify(float, quantized, values, values.json);
  print(`${output}\n`);
  return passed ? 0 : 1;
}

/** Runs a command line and returns the exit code. */
async function main([command, ...args]: string[]): Promise<number> {
  manualSeed(0);
  switch (command) {
    case 'inspect':
      return runInspect(args);
    case 'quantize':
      return runQuantize(args);
    case 'verify':
      return runVerify(args);
    case '--help':
    case '-h':
    case 'help':
      return print(help);
    case '--version': {
      const file = readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8');
      return print(`${(JSON.parse(file) as { version: string }).version}\n`);
    }
    case undefined:
      throw new UsageError('a command is missing');
    default:
      throw new UsageError(`there is no command '${command}'; there are inspect, quantize and verify`);
  }
}

function print(what: string): number {
  process.stdout.write(what);
  return 0;
}

// Files are written synchronously, so a signal finds whole files and no temporary ones.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.on(signal, () => {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    collectGarbage();
    process.exit(code);
  });
}
// A reader that has seen enough is not a failure (`| head`).
process.stdout.on('error', () => process.exit(process.exitCode ?? 0));

const args = process.argv.slice(2);
main(args)
  .then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      const isUsage = (error as Error).name === 'UsageError';
      const command = ['inspect', 'quantize', 'verify'].includes(args[0]!) ? ` ${args[0]}` : '';
      const more = isUsage ? `; see dynaquant${command} --help` : '';
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
      process.stderr.write(`dynaquant${command}: ${oneLine(error)}${more}\n`);
      process.exitCode = isUsage ? 2 : 1;
    },
  )
  .finally(collectGarbage);

export {}; // else esbuild takes this file for CommonJS, and wraps every module that it imports
