import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { native } from '../src/native/addon.js';

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

/** The quota that a tree of files tells; `cgroup` is /proc/self/cgroup, the rest lies in /sys/fs/cgroup. */
function quota(cgroup: string | null, files: Record<string, string | Uint8Array> = {}): number {
  const root = mkdtempSync(join(tmpdir(), 'dynaquant-cgroup-'));
  folders.push(root);
  const write = (path: string, text: string | Uint8Array): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  if (cgroup !== null) write('proc/self/cgroup', cgroup);
  for (const [path, text] of Object.entries(files)) write(join('sys/fs/cgroup', path), text);
  return native().testCgroupQuota(root);
}

describe('cgroup version 2', () => {
  test.each([
    ['max 100000\n', 0],
    ['100000 100000\n', 1],
    ['150000 100000\n', 2],
    ['10000 100000\n', 1],
    ['800000 100000\n', 8],
    ['800001 100000\n', 9],
    ['4000 1000', 4],
  ])('%p is %d CPUs', (text, cpus) => expect(quota('0::/\n', { 'cpu.max': text })).toBe(cpus));

  test('the tightest of the cgroup and those above it counts', () => {
    const limit = (cpus: number): string => `${cpus * 1000} 1000\n`;
    const files = { 'a/b/c/cpu.max': limit(8), 'a/b/cpu.max': 'max 1000\n', 'a/cpu.max': limit(3) };
    expect(quota('0::/a/b/c\n', files)).toBe(3);
    expect(quota('0::/a/b/c\n', { ...files, 'a/b/cpu.max': limit(2) })).toBe(2);
    expect(quota('0::/other\n', files)).toBe(0);
    expect(quota('0::/other\n', { ...files, 'cpu.max': limit(1) })).toBe(1);
  });
  test('a path of the host, or out of the namespace, means the mount itself', () => {
    expect(quota('0::/system.slice/docker-1234.scope\n', { 'cpu.max': '2000 1000\n' })).toBe(2);
    expect(quota('0::/../../x\n', { 'cpu.max': '2000 1000\n' })).toBe(2);
  });
});

describe('cgroup version 1', () => {
  const files = (folder: string, value: string, period = '100000\n'): Record<string, string> => ({
    [`${folder}/cpu.cfs_quota_us`]: value,
    [`${folder}/cpu.cfs_period_us`]: period,
  });
  test('no quota', () => expect(quota('3:cpu:/\n', files('cpu', '-1\n'))).toBe(0));
  test('a quota', () => expect(quota('3:cpu:/\n', files('cpu', '250000\n'))).toBe(3));
  test('mounted with cpuacct', () => {
    const cgroup = '11:memory:/m\n4:cpu,cpuacct:/docker/12\n1:cpuset:/\n';
    expect(quota(cgroup, files('cpu,cpuacct', '400000\n'))).toBe(4);
    expect(quota(cgroup, files('cpu/docker/12', '200000\n'))).toBe(2);
    expect(quota(cgroup, files('cpuset', '100000\n'))).toBe(0);
  });
  test('beside version 2', () => {
    const cgroup = '2:cpu:/a\n0::/a\n';
    expect(quota(cgroup, { ...files('cpu/a', '300000\n'), 'unified/a/cpu.max': '2000 1000\n' })).toBe(2);
    expect(quota(cgroup, { ...files('cpu/a', '300000\n'), 'unified/a/cpu.max': 'max 1000\n' })).toBe(3);
  });
  test('period zero, or missing', () => {
    expect(quota('3:cpu:/\n', files('cpu', '250000\n', '0\n'))).toBe(0);
    expect(quota('3:cpu:/\n', { 'cpu/cpu.cfs_quota_us': '250000\n' })).toBe(0);
  });
});

describe('whatever lies there, it is read or ignored', () => {
  test.each<[string, string | null, Record<string, string | Uint8Array>]>([
    ['nothing', null, {}],
    ['an empty file', '', { 'cpu.max': '' }],
    ['no colon', 'nonsense\n', { 'cpu.max': '1000 1000\n' }],
    ['one colon', '0:\n', { 'cpu.max': '1000 1000\n' }],
    ['no path', '0::\n', { 'cpu.max': '1000 1000\n' }],
    ['a relative path', '0::a\n', { 'a/cpu.max': '1000 1000\n' }],
    ['one number', '0::/\n', { 'cpu.max': '1000\n' }],
    ['words', '0::/\n', { 'cpu.max': 'lots of\n' }],
    ['NaN', '0::/\n', { 'cpu.max': 'nan nan\n' }],
    ['infinity', '0::/\n', { 'cpu.max': 'inf 1000\n' }],
    ['negative', '0::/\n', { 'cpu.max': '-5000 1000\n' }],
    ['by zero', '0::/\n', { 'cpu.max': '5000 0\n' }],
    ['too many', '0::/\n', { 'cpu.max': `${'9'.repeat(400)} 1\n` }],
    ['bytes', '0::/\n', { 'cpu.max': Uint8Array.from({ length: 100_000 }, (_, i) => i) }],
    ['a long path', `0::${'/a'.repeat(20_000)}\n`, {}],
    ['many slashes', `0::${'/'.repeat(5000)}\n`, {}],
    ['a folder', '0::/\n', { 'cpu.max/x': '' }],
  ])('%s', (_, cgroup, files) => expect(quota(cgroup, files)).toBe(0));
});
