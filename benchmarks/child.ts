// One contender on one trial, in its own process: sets up, compares its output with the float result, warms
// up, then times a round whenever it is asked; or says where a call's time goes. One JSON object a line, both ways.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import type { Job, RoundReply, RoundRequest } from './contenders/index.js';
import { Skip, type ModelSetup, type Setup, type Subject } from './contenders/subject.js';
import { clockNative } from './native-clock.js';
import { isModel } from './trials.js';

/** Microseconds a call, over `calls` calls between two readings of the clock. */
async function measure({ call, asynchronous }: Subject, calls: number): Promise<number> {
  const start = performance.now();
  if (asynchronous) for (let i = 0; i < calls; i++) await call();
  else for (let i = 0; i < calls; i++) call();
  return ((performance.now() - start) * 1000) / calls;
}

/** How an output differs from the expected one: the mean error as a share of the mean magnitude, and the cosine. */
function compare(actual: Float32Array, expected: Float32Array): { error: number; cosine: number } {
  if (actual.length !== expected.length) {
    throw new RangeError(`${actual.length} outputs instead of ${expected.length}`);
  }
  let [error, magnitude, product, squares, expectedSquares] = [0, 0, 0, 0, 0];
  for (let i = 0; i < expected.length; i++) {
    error += Math.abs(actual[i]! - expected[i]!);
    magnitude += Math.abs(expected[i]!);
    product += actual[i]! * expected[i]!;
    squares += actual[i]! ** 2;
    expectedSquares += expected[i]! ** 2;
  }
  return { error: error / magnitude, cosine: product / Math.sqrt(squares * expectedSquares) };
}

async function main(): Promise<void> {
  const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
  const job = JSON.parse(process.argv[2]!) as Job;
  const bytes = readFileSync(job.file);
  const tensors = new Map<string, Float32Array>();
  let offset = bytes.byteOffset;
  for (const [name, shape] of job.tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    tensors.set(name, new Float32Array(bytes.buffer, offset, count));
    offset += 4 * count;
  }

  const clock = job.profile ? clockNative() : undefined;
  const script = job.contender.engine + (isModel(job.trial) ? '-model' : '');
  const { setup } = (await import(`./contenders/${script}.js`)) as { setup: Setup & ModelSetup };
  let subject: Subject;
  try {
    subject = await setup(job as Parameters<typeof setup>[0], tensors);
  } catch (error) {
    if (!(error instanceof Skip)) throw error;
    say({ skip: error.message });
    return;
  }
  const difference = compare(subject.output(await subject.call()), tensors.get('y')!);
  // Warm up until the compiler has settled: 100 ms, and three calls at least.
  let usPerCall = Infinity;
  let spent = 0;
  for (let n = 0; n < 3 || (spent < 1e5 && n < 10000); n++) {
    const us = await measure(subject, 1);
    usPerCall = Math.min(usPerCall, us);
    spent += us;
  }
  const profile = clock && (await clock.profile(() => measure(subject, 1)));
  say({ version: subject.version, ...difference, usPerCall, profile });

  for await (const line of createInterface({ input: process.stdin })) {
    const { calls, batches } = JSON.parse(line) as RoundRequest;
    const reply: RoundReply = { batches: [] };
    for (let i = 0; i < batches; i++) reply.batches.push(await measure(subject, calls));
    say(reply);
  }
}

void main();
