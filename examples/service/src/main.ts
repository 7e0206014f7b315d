// Starts the service with the options of the environment, and ends it on SIGTERM or SIGINT.
import type { FastifyInstance } from 'fastify';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig, type Config } from './config.js';
import { LiveStreams } from './live-streams.js';
import { Metrics } from './metrics.js';
import { buildModel } from './models.js';
import { buildServer } from './server.js';
import { MemoryStore, RedisStore } from './state-store.js';

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const models = config.models.map(buildModel);
  const metrics = new Metrics();
  const onError = (error: Error): void => app.log.error(error, 'Redis');
  const store =
    config.redisUrl === undefined ? new MemoryStore() : new RedisStore(config.redisUrl, { onError });
  const streams = new Map(
    models.map((model) => {
      const events = metrics.batcherEvents(model.name, 'stream');
      return [model.name, new LiveStreams(model, store, config, events)];
    }),
  );
  let stopping = false;
  const isReady = async (): Promise<boolean> => !stopping && (await store.ready());
  const app = await buildServer({ models, streams, isReady, metrics }, config);
  app.addHook('onClose', async () => {
    await Promise.all([...streams.values()].map((live) => live.close()));
    await store.close();
  });
  if (config.redisUrl === undefined)
    app.log.warn('REDIS_URL is not set: live streams are kept in memory, and end with this process');

  const stop = (signal: string): void => {
    if (stopping) {
      app.log.warn(`${signal} again: ending at once`);
      process.exit(1);
    }
    stopping = true;
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
  }, shutdownTimeout).unref();
  try {
    await sleep(drainDelay);
    await app.close();
    app.log.info('ended');
    process.exitCode = 0;
  } catch (error) {
    app.log.error(error);
    process.exitCode = 1;
  }
}

try {
  await main();
} catch (error) {
  console.error(`The service did not start: ${(error as Error).message}`);
  process.exitCode = 1;
}
