// Starts the service with the options of the environment, and ends it on SIGTERM or SIGINT.
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig, type Config } from './config.js';
import { LiveStreams } from './live-streams.js';
import { startLocalRedis } from './local-redis.js';
import { Metrics } from './metrics.js';
import { buildModel } from './models.js';
import { buildServer } from './server.js';
import { MemoryStore, RedisStore } from './state-store.js';

/** The service with all that it needs, which it closes with itself. Becomes unready with `stopping`. */
async function build(config: Config, stopping: AbortSignal): Promise<FastifyInstance> {
  const redis = config.redisUrl === 'local' ? await startLocalRedis() : undefined;
  const url = redis?.url ?? config.redisUrl;
  let log: FastifyBaseLogger | undefined = undefined; // there is none before the app
  const onError = (error: Error): void => log?.error(error, 'Redis');
  const store = url === undefined ? new MemoryStore() : new RedisStore(url, { onError });
  const metrics = new Metrics();
  const models = config.models.map(buildModel);
  const liveOptions = { ...config, maxQueue: config.maxLiveSteps };
  const streams = new Map(
    models.map((model) => {
      const events = metrics.batcherEvents(model.name, 'stream');
      return [model.name, new LiveStreams(model, store, liveOptions, events)];
    }),
  );
  const isReady = async (): Promise<boolean> => !stopping.aborted && (await store.ready());
  const app = await buildServer({ models, streams, isReady, metrics }, config);
  log = app.log;
  app.addHook('onClose', async () => {
    await Promise.all([...streams.values()].map((live) => live.close()));
    await store.close();
    await redis?.stop();
  });
  if (url === undefined)
    log.warn('REDIS_URL is not set: live streams are kept in memory, and end with this process');
  return app;
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const stopping = new AbortController();
  const app = await build(config, stopping.signal);
  const stop = (signal: string): void => {
    if (stopping.signal.aborted) {
      app.log.warn(`${signal} again: ending at once`);
      process.exit(1);
    }
    stopping.abort();
    void shutDown(app, config, signal);
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  await app.listen({ host: config.host, port: config.port });
}

/** Tells balancers to send nothing more, finishes what runs, and ends the process. */
async function shutDown(
  app: FastifyInstance,
  { drainDelay, shutdownTimeout }: Config,
  signal: string,
): Promise<void> {
  app.log.info(`${signal}: finishing what runs`);
  setTimeout(() => {
    app.log.error(`after ${shutdownTimeout} ms requests still run: ending without them`);
    process.exit(1);
  }, drainDelay + shutdownTimeout).unref();
  try {
    await sleep(drainDelay);
    await app.close();
    app.log.info('ended');
  } catch (error) {
    app.log.error(error);
    process.exitCode = 1;
  }
}

try {
  await main();
} catch (error) {
  console.error(`The service did not start: ${(error as Error).message}`);
  process.exit(1); // parts of it may have started
}
