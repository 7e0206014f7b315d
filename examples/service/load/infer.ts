// Loads the infer route over loopback, and checks every byte of every answer:
//   node --v8-pool-size=0 build/load/infer.js [--seconds 60]
// 1. saturation: how many requests a second so many clients get that ask again at once
// 2. 70 % of it: latencies when requests come at random times
// 3. 200 % of it: what is refused, and what memory it takes
import { setNumThreads } from 'dynaquant';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Connection } from './http.js';
import { startService, type Service } from './service.js';
import { closedLoop, median, report, samplesOf, Tally } from './tally.js';

setNumThreads(1);

/**
 * Requests at random times, so many a second on average, whether or not earlier ones were answered. Where all
 * connections are busy a request waits for one, and its latency counts the wait.
 */
async function openLoop(
  service: Service,
  rate: number,
  seconds: number,
  connections: number,
  tally: Tally,
  watch = (): void => {},
): Promise<void> {
  const idle = await Promise.all(Array.from({ length: 64 }, () => Connection.open(service.port)));
  let opened = idle.length;
  await sleep(200); // until the service has accepted them
  const waiting: number[] = [];
  let running = 0;
  const send = async (): Promise<void> => {
    running++;
    while (waiting.length > 0 && (idle.length > 0 || opened < connections)) {
      if (idle.length === 0) opened++;
      const connection = idle.pop() ?? (await Connection.open(service.port));
      const since = waiting.shift();
      if (since !== undefined) await tally.request(connection, since);
      if (connection.isOpen) idle.push(connection);
      else opened--;
    }
    running--;
  };
  const begin = performance.now();
  let due = begin;
  while (due < begin + 1000 * seconds || running > 0) {
    const now = performance.now();
    for (; due <= now && due < begin + 1000 * seconds; due += (-Math.log(1 - Math.random()) * 1000) / rate) {
      waiting.push(now);
      void send();
    }
    watch();
    await sleep(1);
  }
  for (const connection of idle) connection.close();
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    model: { type: 'string', default: 'lstm-256' },
    steps: { type: 'string', default: '16' },
    clients: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '5' },
  },
});
const [steps, clients, rounds] = [values.steps, values.clients, values.rounds].map(Number) as [
  number,
  number,
  number,
];
const slice = Number(values.seconds) / (3 * rounds);
const samples = samplesOf(values.model, steps);
const tally = (): Tally => new Tally(`/v2/models/${values.model}/infer`, steps, samples);
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

const service = await startService({ MODELS: values.model });
await closedLoop(service, clients, 1, tally()); // warm
console.log(`${values.model}, ${steps} steps a request, ${clients} clients`);
const saturations: number[] = [];
const ratios: number[] = [];
for (let round = 0; round < rounds; round++) {
  const full = tally();
  saturations.push(await closedLoop(service, clients, slice, full));
  report('saturated', full, `${saturations.at(-1)!.toFixed(0)} a second`);
  const most = tally();
  await openLoop(service, 0.7 * saturations.at(-1)!, slice, 128, most);
  ratios.push(most.percentile(0.99) / most.percentile(0.5));
  report('     70 %', most, `p99 / p50 ${ratios.at(-1)!.toFixed(1)}`);
}
const saturation = median(saturations);
const before = service.memory();
for (let round = 0; round < rounds; round++) {
  const over = tally();
  let peak = 0;
  await openLoop(service, 2 * saturation, slice, 1024, over, () => (peak = Math.max(peak, service.memory())));
  await sleep(500);
  report('    200 %', over, `memory at most ${mib(peak)}, then ${mib(service.memory())}`);
}
console.log(
  `medians: ${saturation.toFixed(0)} requests a second; at 70 % p99 / p50 ${median(ratios).toFixed(1)}`,
);
console.log(`memory: ${mib(before)} before 200 %, ${mib(service.memory())} after`);
await service.stop();
