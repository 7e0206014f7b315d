// What is seen of each request from outside: a log line, metrics, and a span where an OpenTelemetry SDK is registered.
import { SpanKind, SpanStatusCode, context, propagation, trace } from '@opentelemetry/api';
import type { WebSocket } from '@fastify/websocket';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Metrics } from './metrics.js';

/** Does nothing until somebody registers an SDK. */
export const tracer = trace.getTracer('dynaquant-service');

/** The client's id of a request if it is one that logs can take, or a new one. */
export function requestId({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
}

/** Of requests that are not over. */
const callbacks = new WeakMap<IncomingMessage, (() => void)[]>();

/**
 * Calls back once: when the answer is out, or when the connection has closed, which may be now. Node does not tell an
 * answer that waits for another one's end, or that of an upgrade, that its connection has closed.
 */
export function whenOver({ raw: request }: FastifyRequest, { raw }: FastifyReply, over: () => void): void {
  const { socket } = request;
  if (raw.closed || socket.destroyed) return over();
  const others = callbacks.get(request);
  if (others !== undefined) return void others.push(over);
  const all = [over];
  callbacks.set(request, all);
  const end = (): void => {
    if (!callbacks.delete(request)) return;
    socket.off('close', end);
    all.forEach((call) => call());
  };
  raw.once('close', end);
  socket.setMaxListeners(0).once('close', end); // requests that come without waiting for answers may be many
}

/** Requests that have become WebSockets. */
const upgraded = new WeakSet<IncomingMessage>();

export function observeSocket(metrics: Metrics, socket: WebSocket, { raw }: FastifyRequest): void {
  upgraded.add(raw);
  metrics.sockets++;
  socket.once('close', (code) => {
    metrics.sockets--;
    metrics.socketCloses.inc({ code });
  });
}

export function observeRequests(app: FastifyInstance, metrics: Metrics): void {
  app.addHook('onRequest', (request, reply, done) => {
    const begin = performance.now();
    metrics.running++;
    reply.header('x-request-id', request.id);
    const { method } = request;
    const route = request.routeOptions.url ?? 'none';
    const parent = propagation.extract(context.active(), request.headers);
    const attributes = { 'http.request.method': method, 'http.route': route };
    const span = tracer.startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, attributes }, parent);
    whenOver(request, reply, () => {
      metrics.running--;
      const { statusCode, writableFinished } = reply.raw;
      const isSocket = upgraded.has(request.raw);
      const status = isSocket ? 101 : writableFinished ? statusCode : 499;
      const milliseconds = performance.now() - begin;
      if (!isSocket) metrics.requests.observe({ method, route, status }, milliseconds / 1000);
      const isRefusal = (status === 429 || status === 503) && !route.endsWith('/ready');
      if (isRefusal) metrics.refusals.inc({ status });
      log(request, route, { status, milliseconds: Math.round(1000 * milliseconds) / 1000 });
      span.setAttribute('http.response.status_code', status);
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    });
    context.with(trace.setSpan(parent, span), done);
  });
}

/** Requests of those who only look, every few seconds, are not worth a line. */
function log(
  { log, method, url }: FastifyRequest,
  route: string,
  outcome: { status: number; milliseconds: number },
): void {
  const level = /^\/(metrics|v2\/health\/)/.test(route) ? 'debug' : 'info';
  log[level]({ method, url, ...outcome }, 'request');
}
