import rateLimit from '@fastify/rate-limit';
import {
  fastify,
  LogController,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { BatcherOptions } from './batcher.js';
import { instanceCloses, RequestError, describe } from './errors.js';
import { answerBrokenRequest, httpServer, type HTTPLimits } from './http-server.js';
import { Inference } from './inference.js';
import type { LiveStreams } from './live-streams.js';
import { MemoryBudget } from './memory.js';
import type { Metrics } from './metrics.js';
import type { Model } from './models.js';
import { observeRequests, observeSocket, requestId, whenOver } from './observe.js';
import { page } from './page/page.js';
import { schemaSentence } from './v2-body.js';
import { v2 } from './v2.js';
import type { SizeLimits } from './v2-tensors.js';
import { streamSockets } from './websocket.js';

export interface ServerOptions extends BatcherOptions, SizeLimits, HTTPLimits {
  /** Bytes of a request's body. */
  readonly maxBody: number;
  /** Bytes of a WebSocket's message. */
  readonly maxMessage: number;
  /** Bytes that all requests may take: bodies, what waits or computes, and answers that clients have not taken. */
  readonly maxPending: number;
  /** Numbers of an answer in JSON. */
  readonly maxJSONNumbers: number;
  /** Requests a second of a client's address. 0: any number. */
  readonly maxRate: number;
  /** How many proxies are in front: so many addresses at the end of `X-Forwarded-For` are theirs to write. */
  readonly trustProxy: number;
  readonly logger?: Exclude<FastifyServerOptions['logger'], undefined>;
}

export interface Served {
  readonly models: readonly Model[];
  /** Live streams, by the name of their model. */
  readonly streams: ReadonlyMap<string, LiveStreams>;
  /** Whether requests should come here. */
  readonly isReady: () => boolean | Promise<boolean>;
  readonly metrics: Metrics;
}

const inferPath = /^\/v2\/models\/([^/]+)(\/versions\/1)?\/infer$/;

/** The service as a Fastify app that does not listen yet. */
export async function buildServer(served: Served, options: ServerOptions): Promise<FastifyInstance> {
  const { models, streams, isReady, metrics } = served;
  const inferences = inferencesOf(models, options, metrics);
  const app = fastify({
    logger: options.logger ?? false,
    logController: new LogController({ disableRequestLogging: true }), // observe.ts has one line for each
    bodyLimit: options.maxBody,
    trustProxy: (_address, hop) => hop < options.trustProxy,
    genReqId: requestId,
    ajv: {
      customOptions: { coerceTypes: false, removeAdditional: false, allowUnionTypes: true, verbose: true },
    },
    routerOptions: { maxParamLength: 256 },
    return503OnClosing: false, // its answer has no sentence and no Retry-After
    schemaErrorFormatter: (errors, part) => new RequestError(400, schemaSentence(errors, part)),
    serverFactory: (handler) => httpServer(handler, options, earlyRefusals(inferences, metrics)),
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => answerError(error, request, reply as FastifyReply, options),
  });
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(error, request, reply, options));

  observeRequests(app, metrics);
  closeSilentConnections(app, () => metrics.running);
  refuseWhileClosing(app);
  app.addHook('onRequest', (request, _reply, done) => {
    const { httpVersion, headers } = request.raw;
    const lacksHost = httpVersion === '1.1' && headers.host === undefined;
    done(lacksHost ? new RequestError(400, 'the request should have a Host header, got none') : undefined);
  });
  if (options.maxRate > 0) await app.register(rateLimit, rateLimits(options.maxRate));
  app.setNotFoundHandler(
    options.maxRate > 0 ? { preHandler: app.rateLimit() } : {},
    ({ method, url }, reply) =>
      void reply.status(404).send({ error: `there is no ${method} ${describe(url)}` }),
  );
  const memory = new MemoryBudget(options.maxPending);
  metrics.watchMemory(() => memory.used);
  countBodies(app, memory, options.maxBody);
  app.get('/metrics', { config: { rateLimit: false } }, async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.text()),
  );
  app.addHook('onClose', () => inferences.forEach((inference) => inference.dispose()));
  for (const [name, live] of streams) {
    metrics.watchStreams(name, live);
    metrics.watchQueue(name, 'stream', () => live.pending);
  }
  const named = new Map(models.map((model) => [model.name, model]));
  await app.register(v2, { ...options, models: named, inferences, streams, isReady, memory });
  await app.register(streamSockets, {
    streams,
    maxMessage: options.maxMessage,
    memory,
    onOpen: (socket, request) => observeSocket(metrics, socket, request),
  });
  await app.register(page, { models });
  return app;
}

/** What the queue has no room for, before Fastify: it is counted, but has no log line and no span. */
function earlyRefusals(
  inferences: ReadonlyMap<string, Inference>,
  metrics: Metrics,
): (request: IncomingMessage) => RequestError | undefined {
  return ({ method, url }) => {
    const [, name, version] = (method === 'POST' && inferPath.exec(url!)) || [];
    const refusal = inferences.get(name ?? '')?.refusal();
    if (refusal === undefined) return undefined;
    const route = `/v2/models/:model${version === undefined ? '' : '/versions/:version'}/infer`;
    metrics.requests.observe({ method: 'POST', route, status: 503 }, 0);
    metrics.refusals.inc({ status: 503 });
    return refusal;
  };
}

/** Takes the memory of bodies before they are read. One whose length is not known may become as long as any. */
function countBodies(app: FastifyInstance, memory: MemoryBudget, maxBody: number): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
    const bytes = encoding === undefined ? Number(length) : maxBody;
    if (bytes > 0 && bytes <= maxBody) whenOver(request, reply, memory.take(bytes)); // longer ones are not read
    done();
  });
}

/** Requests that come over connections that are open already. */
function refuseWhileClosing(app: FastifyInstance): void {
  let closing = false;
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.addHook('onRequest', (_request, _reply, done) => {
    done(closing ? instanceCloses() : undefined);
  });
}

function inferencesOf(
  models: readonly Model[],
  options: BatcherOptions,
  metrics: Metrics,
): Map<string, Inference> {
  return new Map(
    models.map((model) => {
      const inference = new Inference(model, options, metrics.batcherEvents(model.name, 'infer'));
      metrics.watchQueue(model.name, 'infer', () => inference.depth);
      return [model.name, inference];
    }),
  );
}

/** Node waits for connections that have never sent a request. A closing server does so only while it has requests. */
function closeSilentConnections(app: FastifyInstance, running: () => number): void {
  app.addHook('preClose', (done) => {
    const sweep = setInterval(() => {
      if (running() === 0) app.server.closeAllConnections();
      if (running() === 0 && !app.server.listening) clearInterval(sweep);
    }, 250).unref();
    done();
  });
}

function rateLimits(maxRate: number): object {
  return {
    max: maxRate,
    timeWindow: 1000,
    errorResponseBuilder: () =>
      new RequestError(429, `a client should send at most ${maxRate} requests a second: retry later`, 1),
  };
}

function answerError(
  error: FastifyError | RequestError,
  request: FastifyRequest,
  reply: FastifyReply,
  { maxBody }: ServerOptions,
): void {
  const status = error.statusCode ?? 500;
  const { retryAfter = status === 503 ? 1 : undefined } = error as RequestError;
  if (retryAfter !== undefined) void reply.header('retry-after', retryAfter);
  let sentence = error.message;
  if (status === 413) sentence = `the body should have at most ${maxBody} bytes`;
  if (status === 500) {
    request.log.error(error);
    sentence = `the server failed; its log has more under the request id ${request.id}`;
  }
  void reply.status(status).send({ error: sentence });
}
