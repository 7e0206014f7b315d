// Node's HTTP server in front of Fastify: how long things may take, what is no HTTP, and what is refused at once.
import {
  createServer,
  IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import type { RequestError } from './errors.js';
import { requestId } from './observe.js';

export interface HTTPLimits {
  /** Connections at once. */
  readonly maxConnections: number;
  /** Milliseconds within which a request has to arrive; a connection may be silent for twice as long. */
  readonly requestTimeout: number;
}

/** The one route of WebSockets. */
const streamPath = /^\/v2\/models\/[^/]+\/stream(?:\?|$)/;

/**
 * Node takes a request with any `Upgrade` header for the last one of its connection, and does not read its body. But
 * HTTP clients send `Upgrade: h2c` with requests that are to be answered.
 */
class Request extends IncomingMessage {
  private asksForUpgrade = false;

  set upgrade(value: boolean) {
    this.asksForUpgrade = value;
  }
  get upgrade(): boolean {
    if (!this.asksForUpgrade || this.method === 'CONNECT') return this.asksForUpgrade;
    return (
      this.method === 'GET' &&
      this.headers.upgrade?.toLowerCase() === 'websocket' &&
      streamPath.test(this.url!)
    );
  }
}

/**
 * @param refusalOf - why a request cannot be served now. It is asked before Fastify sees the request: a service
 * that has too much to do should spend little on what it refuses, or it soon does nothing else.
 */
export function httpServer(
  handler: RequestListener,
  { maxConnections, requestTimeout }: HTTPLimits,
  refusalOf: (request: IncomingMessage) => RequestError | undefined,
): Server {
  const timeouts = {
    requestTimeout,
    headersTimeout: requestTimeout,
    connectionsCheckingInterval: Math.max(100, requestTimeout / 4),
    keepAliveTimeout: 72_000, // longer than the 60 s of most load balancers, who should be the ones to close
    requireHostHeader: false, // Node's own answer has no sentence
  };
  const server = createServer({ ...timeouts, IncomingMessage: Request }, (request, response) => {
    // Node reads nothing after a request with this header, even where it takes it for a plain one.
    if (request.headers.upgrade !== undefined) response.shouldKeepAlive = false;
    const refusal = refusalOf(request);
    if (refusal === undefined) handler(request, response);
    else refuse(request, response, refusal);
  });
  server.setTimeout(2 * requestTimeout);
  server.maxConnections = maxConnections;
  return server;
}

function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { statusCode, message, retryAfter = 1 }: RequestError,
): void {
  const body = JSON.stringify({ error: message });
  response.statusCode = statusCode;
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', Buffer.byteLength(body));
  response.setHeader('retry-after', retryAfter);
  response.setHeader('x-request-id', requestId(request));
  response.end(body);
}

/** Answers what is not HTTP, or came too slowly. */
export function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const [status, sentence] = {
    HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the headers should have at most 16 kB'],
    ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the request took too long to arrive'],
  }[error.code ?? ''] ?? ['400 Bad Request', `the request should be HTTP/1.1: ${error.message}`];
  const body = JSON.stringify({ error: sentence });
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`, () => socket.destroy());
}
