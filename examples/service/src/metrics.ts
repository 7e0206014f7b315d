import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { BatcherEvents } from './batcher.js';

const seconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

/** What Prometheus reads at /metrics. Each server has its own, so that a process may run several. */
export class Metrics {
  readonly registry = new Registry();
  private readonly depths = new Map<string, () => number>();
  private readonly live = new Map<string, () => number>();

  readonly requests = new Histogram({
    name: 'service_request_seconds',
    help: 'Time from a request to the end of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: seconds,
    registers: [this.registry],
  });
  private readonly waits = new Histogram({
    name: 'service_queue_seconds',
    help: 'Time that a job waited for its batch',
    labelNames: ['model'],
    buckets: seconds,
    registers: [this.registry],
  });
  private readonly computations = new Histogram({
    name: 'service_batch_seconds',
    help: 'Time that a batch computed',
    labelNames: ['model'],
    buckets: seconds,
    registers: [this.registry],
  });
  private readonly batches = new Histogram({
    name: 'service_batch_rows',
    help: 'Rows of a batch',
    labelNames: ['model'],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    registers: [this.registry],
  });
  /** Requests that were refused, by the status of the answer. */
  readonly refusals = new Counter({
    name: 'service_refused_total',
    help: 'Requests that were refused, by the status of their answer',
    labelNames: ['status'],
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    this.gauge('service_queue_rows', 'Rows that wait for a batch', this.depths);
    this.gauge('service_live_streams', 'Live streams whose state this instance holds', this.live);
  }

  /** A gauge that is read when Prometheus asks. */
  private gauge(name: string, help: string, readings: ReadonlyMap<string, () => number>): void {
    new Gauge({
      name,
      help,
      labelNames: ['model'],
      registers: [this.registry],
      collect() {
        for (const [model, read] of readings) this.set({ model }, read());
      },
    });
  }

  /** What a model's batcher reports. */
  batcherEvents(model: string): BatcherEvents {
    const [waits, computations, batches] = [this.waits, this.computations, this.batches].map((histogram) =>
      histogram.labels(model),
    );
    return {
      started(rows, times) {
        batches!.observe(rows);
        for (const time of times) waits!.observe(time);
      },
      ended: (time) => computations!.observe(time),
    };
  }

  watchQueue(model: string, depth: () => number): void {
    this.depths.set(model, depth);
  }

  watchStreams(model: string, count: () => number): void {
    this.live.set(model, count);
  }
}
