// What is seen of each request from outside: a log line, metrics, and a span where an OpenTelemetry SDK is registered.
import { SpanKind, SpanStatusCode, context, propagation, trace } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
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
    // It comes in every case: when the answer is out, and when the client has gone before.
    reply.raw.once('close', () => {
      metrics.running--;
      const { statusCode, writableFinished } = reply.raw;
      const status = writableFinished ? statusCode : 499;
      const milliseconds = performance.now() - begin;
      metrics.requests.observe({ method, route, status }, milliseconds / 1000);
      if (status === 429 || status === 503) metrics.refusals.inc({ status });
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
