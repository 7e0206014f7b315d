// One contender on one trial, in its own process: sets up, compares its output with the float result, warms
// up, then times a round whenever it is asked. One JSON object a line, both ways.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import type { Job, RoundReply, RoundRequest } from './contenders/index.js';
import { Skip, type Setup, type Subject } from './contenders/subject.js';

/** Microseconds a call, over `calls` calls between two readings of the clock. */
async function measure({ call, asynchronous }: Subject, calls: number): Promise<number> {
  const start = performance.now();
  if (asynchronous) for (let i = 0; i < calls; i++) await call();
  else for (let i = 0; i < calls; i++) call();
  return ((performance.now() - start) * 1000) / calls;
}

/** Mean error as a share of the mean magnitude. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) {
    throw new RangeError(`${actual.length} outputs instead of ${expected.length}`);
  }
  let error = 0;
  let magnitude = 0;
  for (let i = 0; i < expected.length; i++) {
    error += Math.abs(actual[i]! - expected[i]!);
    magnitude += Math.abs(expected[i]!);
  }
  return error / magnitude;
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

  const { setup } = (await import(`./contenders/${job.contender.engine}.js`)) as { setup: Setup };
  let subject: Subject;
  try {
    subject = await setup(job, tensors);
  } catch (error) {
    if (!(error instanceof Skip)) throw error;
    say({ skip: error.message });
    return;
  }
  const error = relativeError(subject.output(await subject.call()), tensors.get('y')!);
  // Warm up until the compiler has settled: 100 ms, and three calls at least.
  let usPerCall = Infinity;
  let spent = 0;
  for (let n = 0; n < 3 || (spent < 1e5 && n < 10000); n++) {
    const us = await measure(subject, 1);
    usPerCall = Math.min(usPerCall, us);
    spent += us;
  }
  say({ version: subject.version, error, usPerCall });

  for await (const line of createInterface({ input: process.stdin })) {
    const { calls, batches } = JSON.parse(line) as RoundRequest;
    const reply: RoundReply = { batches: [] };
    for (let i = 0; i < batches; i++) reply.batches.push(await measure(subject, calls));
    say(reply);
  }
}

void main();
