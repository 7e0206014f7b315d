// Options from environment variables. Each is checked, so that a typing error ends the start and not a request.
import { modelNames } from './models.js';
import { integerOf, redisOf } from './option-values.js';
import type { ServerOptions } from './server.js';

export interface Config extends ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly models: readonly string[];
  /** Where the states of live streams are kept; 'local' is a server for this process. Undefined: its own memory. */
  readonly redisUrl: string | undefined;
  /** The most steps of a model's live streams that wait or run. */
  readonly maxLiveSteps: number;
  /** Live streams of a model whose states this instance keeps as well. */
  readonly maxLocal: number;
  /** Milliseconds after which a live stream without steps is forgotten. */
  readonly idleTimeout: number;
  /** Milliseconds between a SIGTERM and the end of listening, in which balancers see that this is not ready. */
  readonly drainDelay: number;
  /** Milliseconds after a SIGTERM when the process ends, whatever runs. */
  readonly shutdownTimeout: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws {RangeError} naming the variable, what it should be and what it is */
export function readConfig(env: Environment): Config {
  const integer = (name: string, otherwise: number, min: number, max: number): number => {
    const text = env[name] ?? '';
    return text === '' ? otherwise : integerOf(name, text, min, max);
  };
  const config: Config = {
    host: env['HOST'] || '127.0.0.1',
    port: integer('PORT', 8080, 0, 65535),
    models: modelsOf(env),
    redisUrl: redisOf('REDIS_URL', env['REDIS_URL']),
    maxBatch: integer('MAX_BATCH', 32, 1, 4096),
    maxDelay: integer('MAX_DELAY_MS', 2, 0, 1000),
    maxQueue: integer('MAX_QUEUE', 512, 1, 1_000_000),
    maxLiveSteps: integer('MAX_LIVE_STEPS', 4096, 1, 10_000_000),
    maxRows: integer('MAX_ROWS', 64, 1, 4096),
    maxSteps: integer('MAX_STEPS', 1024, 1, 65536),
    maxBody: integer('MAX_BODY_BYTES', 4 * 2 ** 20, 1024, 2 ** 30),
    maxMessage: integer('MAX_MESSAGE_BYTES', 2 ** 18, 1024, 2 ** 28),
    maxPending: integer('MAX_PENDING_BYTES', 512 * 2 ** 20, 1024, 2 ** 40),
    maxJSONNumbers: integer('MAX_JSON_NUMBERS', 2 ** 18, 1, 2 ** 24),
    maxRate: integer('MAX_RATE', 1000, 0, 1_000_000),
    maxConnections: integer('MAX_CONNECTIONS', 4096, 1, 1_000_000),
    requestTimeout: integer('REQUEST_TIMEOUT_MS', 10_000, 100, 3_600_000),
    trustProxy: integer('TRUST_PROXY', 0, 0, 100),
    maxLocal: integer('MAX_LOCAL_STREAMS', 10_000, 1, 10_000_000),
    idleTimeout: 1000 * integer('STREAM_IDLE_SECONDS', 600, 1, 2_592_000),
    drainDelay: integer('DRAIN_DELAY_MS', 0, 0, 600_000),
    shutdownTimeout: integer('SHUTDOWN_TIMEOUT_MS', 25_000, 1, 600_000),
    logger: {
      level: oneOf(env, 'LOG_LEVEL', ['info', 'trace', 'debug', 'warn', 'error', 'fatal', 'silent']),
    },
  };
  if (config.maxRows > config.maxQueue)
    throw wrong('MAX_ROWS', `at most MAX_QUEUE, which is ${config.maxQueue}`, String(config.maxRows));
  if (config.maxBody > config.maxPending)
    throw wrong(
      'MAX_BODY_BYTES',
      `at most MAX_PENDING_BYTES, which is ${config.maxPending}`,
      String(config.maxBody),
    );
  return config;
}

/** One of the values, the first if the variable is not set. */
function oneOf(env: Environment, name: string, values: readonly string[]): string {
  const value = env[name] || values[0]!;
  if (!values.includes(value)) throw wrong(name, `one of ${values.join(', ')}`, value);
  return value;
}

function modelsOf(env: Environment): readonly string[] {
  const text = env['MODELS'] || modelNames.join(',');
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  if (!names.every((name) => modelNames.includes(name)))
    throw wrong('MODELS', `some of ${modelNames.join(',')}`, text);
  return names;
}

function wrong(name: string, expected: string, got: string): RangeError {
  return new RangeError(`${name} should be ${expected}, got '${got}'`);
}
