import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { BatcherEvents } from './batcher.js';
import type { LiveStreams } from './live-streams.js';

const seconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

/** Whole sequences, or steps of live streams. */
export type Kind = 'infer' | 'stream';
type Labels = { readonly model?: string; readonly kind?: Kind };

/** What Prometheus reads at /metrics. Each server has its own, so that a process may run several. */
export class Metrics {
  readonly registry = new Registry();
  private readonly readings: [gauge: Gauge, labels: Labels, read: () => number][] = [];

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
    labelNames: ['model', 'kind'],
    buckets: seconds,
    registers: [this.registry],
  });
  private readonly computations = new Histogram({
    name: 'service_batch_seconds',
    help: 'Time that a batch computed',
    labelNames: ['model', 'kind'],
    buckets: seconds,
    registers: [this.registry],
  });
  private readonly batches = new Histogram({
    name: 'service_batch_rows',
    help: 'Rows of a batch',
    labelNames: ['model', 'kind'],
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

  /** Connections over WebSockets that have closed. */
  readonly socketCloses = new Counter({
    name: 'service_websocket_closes_total',
    help: 'WebSockets that have closed, by the code of their close frame, or 1006 without one',
    labelNames: ['code'],
    registers: [this.registry],
  });

  /** Requests that are not answered yet. */
  running = 0;
  /** WebSockets that are open. */
  sockets = 0;
  private readonly queues = this.gauge('service_queue_rows', 'Rows that wait for a batch', ['model', 'kind']);
  private readonly live = this.gauge('service_live_streams', 'Live streams whose state is here', ['model']);

  private readonly streamEvents = new Counter({
    name: 'service_stream_events_total',
    help: 'What live streams did: steps, replays, conflicts, loads, evictions',
    labelNames: ['model', 'event'],
    registers: [this.registry],
  });
  private readonly streams = new Map<string, LiveStreams>();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    const running = this.gauge('service_running_requests', 'Requests that are not answered yet', []);
    const sockets = this.gauge('service_websockets', 'WebSockets that are open', []);
    this.readings.push([running, {}, () => this.running], [sockets, {}, () => this.sockets]);
  }

  private gauge(name: string, help: string, labelNames: readonly (keyof Labels)[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  /** What the batcher of a model reports. */
  batcherEvents(model: string, kind: Kind): BatcherEvents {
    const [waits, computations, batches] = [this.waits, this.computations, this.batches].map((histogram) =>
      histogram.labels({ model, kind }),
    );
    return {
      started(rows, times) {
        batches!.observe(rows);
        for (const time of times) waits!.observe(time);
      },
      ended: (time) => computations!.observe(time),
    };
  }

  watchQueue(model: string, kind: Kind, depth: () => number): void {
    this.readings.push([this.queues, { model, kind }, depth]);
  }

  watchStreams(model: string, streams: LiveStreams): void {
    this.readings.push([this.live, { model }, () => streams.local]);
    this.streams.set(model, streams);
  }

  watchMemory(used: () => number): void {
    const help =
      'Bytes that requests take: bodies, what waits or computes, and answers that clients have not taken';
    this.readings.push([this.gauge('service_pending_bytes', help, []), {}, used]);
  }

  /** All of them, as Prometheus reads them. */
  text(): Promise<string> {
    for (const [gauge, labels, read] of this.readings) gauge.set(labels, read());
    this.streamEvents.reset(); // they are counted by the streams
    for (const [model, { counts }] of this.streams)
      for (const [event, count] of Object.entries(counts)) this.streamEvents.inc({ model, event }, count);
    return this.registry.metrics();
  }
}
