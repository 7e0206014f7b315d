// Micro-batching against one by one, with the same streams, over loopback:
//   node build/load/batching.js [--seconds 40] [--model lstm-512] [--streams 64]
// Two services run, with batches of 1 and of up to 32 rows; short rounds take turns, so that what else the machine does
// hits both. Each stream sends its next step once it has the answer to the last. Every byte is compared with a local run.
import { nn, setNumThreads, Tensor } from 'dynaquant';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { Inference } from '../src/inference.js';
import { buildModel } from '../src/models.js';
import { startService, type Service } from './service.js';
import { closedLoop, median, report, samplesOf, Tally } from './tally.js';

setNumThreads(1);
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '40' },
    model: { type: 'string', default: 'lstm-512' },
    streams: { type: 'string', default: '64' },
  },
});
const rounds = 5;
const slice = Number(values.seconds) / (6 * rounds);
const count = Number(values.streams);
const model = buildModel(values.model);
const { features } = model.input;
const inputs = Array.from({ length: 50 }, () =>
  Float32Array.from({ length: features }, () => 2 * Math.random() - 1),
);

/** The input of a stream's step. */
const inputOf = (stream: number, step: number): Float32Array => inputs[(7 * stream + step) % inputs.length]!;

let session = 0;
/** Live streams over WebSockets for a while. Returns steps a second, after all outputs have been found right. */
async function liveStreams({ port }: Service, seconds: number): Promise<number> {
  const prefix = `batching-${session++}-`;
  const outputs = await Promise.all(
    Array.from({ length: count }, async (_, stream) => {
      const query = `sequence_id=${prefix}${stream}&start=true&format=binary`;
      const socket = new WebSocket(`ws://127.0.0.1:${port}/v2/models/${values.model}/stream?${query}`);
      await once(socket, 'message');
      return { socket, received: [] as Buffer[] };
    }),
  );
  const begin = performance.now();
  await Promise.all(
    outputs.map(({ socket, received }, stream) => {
      socket.on('message', (data: Buffer) => {
        received.push(data.subarray(8));
        if (performance.now() - begin < 1000 * seconds) socket.send(inputOf(stream, received.length));
        else socket.close();
      });
      socket.send(inputOf(stream, 0));
      return once(socket, 'close');
    }),
  );
  const rate =
    outputs.reduce((sum, { received }) => sum + received.length, 0) / ((performance.now() - begin) / 1000);
  outputs.forEach(({ received }, stream) => checkOutputs(stream, received));
  return rate;
}

/** Compares the outputs of a stream's steps with those of a stream that runs alone. */
function checkOutputs(stream: number, received: readonly Buffer[]): void {
  const streams = new nn.Streams(model.layers);
  const id = streams.open();
  received.forEach((bytes, step) => {
    const { data } = streams.step([id], new Tensor(inputOf(stream, step), [1, features]));
    if (!bytes.equals(Buffer.copyBytesFrom(data as Float32Array)))
      throw new Error(`step ${step} of stream ${stream} has other bytes than a lone run`);
  });
  streams.dispose();
}

const services = await Promise.all(
  ['1', '32'].map((MAX_BATCH) => startService({ MODELS: values.model, MAX_BATCH })),
);
const samples = samplesOf(values.model, 1);
const tallies = ['one by one', 'batches   '].map((name) => ({
  name,
  tally: new Tally(`/v2/models/${values.model}/infer`, 1, samples),
}));

async function compare(
  what: string,
  rate: (service: Service, index: number) => Promise<number>,
): Promise<void> {
  const rates: number[][] = [[], []];
  for (let round = 0; round <= rounds; round++)
    for (const [index, service] of services.entries()) {
      const measured = await rate(service, index);
      if (round > 0) rates[index]!.push(measured); // the first one warms up
    }
  const [alone, batched] = rates.map(median) as [number, number];
  console.log(
    `${what}: ${alone.toFixed(0)} steps a second one by one, ${batched.toFixed(0)} in batches: ${(batched / alone).toFixed(1)} times as many`,
  );
}

const local = [1, 32].map((maxBatch) => new Inference(model, { maxBatch, maxDelay: 2, maxQueue: 1000 }, {}));
/** The service's batcher alone, without a network, which costs as much as a step in a batch or more. */
async function inProcess(inference: Inference, seconds: number): Promise<number> {
  const begin = performance.now();
  let answers = 0;
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      while (performance.now() - begin < 1000 * seconds) {
        const { input, output } = samples[(i + answers) % samples.length]!;
        const data = new Float32Array(input.buffer as ArrayBuffer);
        const answer = await inference.infer({ batch: 1, steps: 1, data, leading: [1] });
        if (!output.equals(Buffer.copyBytesFrom(answer)))
          throw new Error('other bytes than a lone call gives');
        answers++;
      }
    }),
  );
  return answers / ((performance.now() - begin) / 1000);
}

console.log(`${values.model}, ${count} streams`);
await compare('in one process, without a network', (_service, index) => inProcess(local[index]!, slice));
await compare('live streams over WebSockets', (service) => liveStreams(service, slice));
await compare('requests of one step over HTTP', (service, index) =>
  closedLoop(service, count, slice, tallies[index]!.tally),
);
for (const { name, tally } of tallies) report(name, tally, 'over HTTP');
await Promise.all(services.map((service) => service.stop()));
