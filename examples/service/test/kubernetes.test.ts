// What the manifests and the image name is there. Kubernetes itself checks the rest.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../src/config.js';
import { Metrics } from '../src/metrics.js';

const folder = fileURLToPath(new URL('../..', import.meta.url));
const read = (name: string): string => readFileSync(`${folder}/${name}`, 'utf8');
const all = ['service.yaml', 'score.yaml', 'redis.yaml'].map((name) => read(`kubernetes/${name}`)).join('');
const matches = (text: string, pattern: RegExp): string[] =>
  Array.from(text.matchAll(pattern), ([, first]) => first!);

test('programs and Redis keys have their names', () => {
  const programs = matches(all + read('Dockerfile'), /"?node"?, (?:"--[\w=-]+", )?"?([\w/.-]+\.js)/g);
  assert.deepEqual(
    [...new Set(programs)].sort(),
    ['main', 'score-worker', 'score'].map((name) => `build/src/${name}.js`),
  );
  for (const program of programs) assert.ok(existsSync(`${folder}/${program}`), program);
  const queue = /queueName = '(\w+)'/.exec(read('src/scoring/queue.ts'))![1]!;
  for (const list of matches(all, /listName: (.*)/g))
    assert.match(list, new RegExp(`^bull:${queue}:(wait|active|delayed)$`));
  const options = read('src/scoring/options.ts');
  for (const option of matches(all, /(--[\w-]+),/g)) assert.ok(options.includes(`  ${option} `), option);
});

test('the service scales by metrics that it has', async () => {
  const metrics = await new Metrics().text();
  const queries = matches(all, /query: (.*)/g);
  assert.ok(queries.length > 0);
  for (const name of queries.flatMap((query) => matches(query, /(service_\w+)/g)))
    assert.match(metrics, new RegExp(`^# TYPE ${name} `, 'm'));
  // Two autoscalers of one deployment would fight.
  assert.deepEqual(matches(all, /kind: (HorizontalPodAutoscaler)/g), []);
  assert.equal(matches(all, /prometheus\.io\/path: (.*)/g)[0], '/metrics');
});

test('the environment of the service is what it reads', () => {
  const pairs = Array.from(all.matchAll(/- name: ([A-Z_]+)\n +value: '?([^'\n]*)/g), ([, name, value]) => [
    name!,
    value!,
  ]);
  const env = Object.fromEntries(pairs) as Record<string, string>;
  const read: string[] = [];
  const { drainDelay, shutdownTimeout, host, port, redisUrl } = readConfig(
    new Proxy(env, { get: (target, name) => (read.push(String(name)), target[String(name)]) }),
  );
  const own = Object.keys(env).filter((name) => name !== 'NODE_OPTIONS');
  assert.deepEqual(
    own.filter((name) => !read.includes(name)),
    [],
  );
  assert.deepEqual([host, port, redisUrl], ['0.0.0.0', 8080, 'redis://redis:6379']);
  const grace = Number(/terminationGracePeriodSeconds: (\d+)/.exec(all)![1]);
  assert.ok(1000 * grace > drainDelay + shutdownTimeout, 'SIGKILL comes before the service has ended');
});

test('probes ask for routes that there are', () => {
  const routes = read('src/v2.ts');
  const paths = matches(all, / path: (.*)/g);
  assert.equal(paths.length, 3);
  for (const path of paths) assert.ok(routes.includes(`'${path}'`), path);
});

/** A folder as the image has it: what the last stage of the Dockerfile copies, from here. */
function image(): string {
  const root = mkdtempSync(join(tmpdir(), 'dynaquant-image-'));
  const repository = join(folder, '..', '..');
  let directory = '/';
  for (const [, verb, rest] of read('Dockerfile')
    .split(/^FROM /m)
    .at(-1)!
    .matchAll(/^(WORKDIR|COPY --from=build) (.*)/gm)) {
    if (verb === 'WORKDIR') {
      directory = rest!;
      continue;
    }
    const [from, to] = rest!.split(' ') as [string, string];
    const source = join(repository, from.replace(/^\/dynaquant\//, ''));
    const target = join(root, directory, to, to.endsWith('/') ? basename(from) : '');
    if (basename(from) !== 'node_modules') {
      cpSync(source, target, { recursive: true });
      continue;
    }
    mkdirSync(target);
    for (const name of readdirSync(source).filter((each) => each !== 'dynaquant'))
      symlinkSync(join(source, name), join(target, name));
    symlinkSync('../../..', join(target, 'dynaquant'));
  }
  return root;
}

test('the image has all that the service and the workers need', { timeout: 60_000 }, async () => {
  const root = image();
  const cwd = join(root, 'dynaquant', 'examples', 'service');
  const env = { ...process.env, HOST: '127.0.0.1', PORT: '0', REDIS_URL: '', LOG_LEVEL: 'info' };
  const service = spawn(process.execPath, ['build/src/main.js'], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let url: string | undefined;
    for await (const line of createInterface({ input: service.stdout })) {
      url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
      if (url !== undefined) break;
    }
    assert.ok(url !== undefined, 'the service did not start');
    assert.equal((await fetch(url)).status, 200);
    assert.equal((await fetch(`${url}/v2/models/char-lm/ready`)).status, 200);
    writeFileSync(join(root, 'texts.jsonl'), '{"text": "a"}\n');
    const scored = spawnSync(
      process.execPath,
      ['build/src/score.js', join(root, 'texts.jsonl'), '--workers', '0'],
      { cwd },
    );
    assert.equal(scored.status, 0, String(scored.stderr));
  } finally {
    service.kill('SIGKILL');
    rmSync(root, { recursive: true });
  }
});
