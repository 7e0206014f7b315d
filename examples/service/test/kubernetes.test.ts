// What the manifests and the image name is there. Kubernetes itself checks the rest.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { readConfig } from '../src/config.js';

const folder = fileURLToPath(new URL('../..', import.meta.url));
const read = (name: string): string => readFileSync(`${folder}/${name}`, 'utf8');
const all = ['service.yaml', 'score.yaml', 'redis.yaml'].map((name) => read(`kubernetes/${name}`)).join('');
const matches = (text: string, pattern: RegExp): string[] =>
  Array.from(text.matchAll(pattern), ([, first]) => first!);

test('programs and Redis keys have their names', () => {
  const programs = matches(all + read('Dockerfile'), /"?node"?, "?([\w/.-]+\.js)/g);
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
