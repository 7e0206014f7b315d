// Live streams over a WebSocket: GET /v2/models/{model}/stream?sequence_id=…
import type { FastifyInstance } from 'fastify';
import type { LiveStreams } from './live-streams.js';

export interface SocketOptions {
  /** By the name of the model. */
  readonly streams: ReadonlyMap<string, LiveStreams>;
}

/** A Fastify plugin: `await app.register(streamSockets, { streams })`. It registers @fastify/websocket itself. */
export async function streamSockets(_app: FastifyInstance, _options: SocketOptions): Promise<void> {}
