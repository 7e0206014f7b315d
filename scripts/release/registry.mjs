// A registry on this machine that serves a release's tarballs and nothing else, and installations from it.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { run, tarballs as ours, workshop } from './workshop.mjs';

/** Calls `use(url)` while it runs, with the tarballs of a folder. It knows what npm asks of a registry when it installs. */
export async function withRegistry(use, tarballs = ours) {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  const url = `http://localhost:${server.address().port}`;
  const answers = new Map();
  for (const file of readdirSync(tarballs)) {
    const bytes = readFileSync(join(tarballs, file));
    const manifest = JSON.parse(await run('tar', ['xzOf', join(tarballs, file), 'package/package.json']));
    const { name, version } = manifest;
    const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
    const versions = { [version]: { ...manifest, dist: { integrity, tarball: `${url}/${file}` } } };
    answers.set(`/${name}`, JSON.stringify({ name, 'dist-tags': { latest: version }, versions }));
    answers.set(`/${file}`, bytes);
  }
  server.on('request', (request, response) => {
    const answer = answers.get(decodeURIComponent(request.url));
    response.writeHead(answer === undefined ? 404 : 200).end(answer ?? '{}');
  });
  try {
    return await use(url);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Installs into an empty folder for a platform, with Node alone on the PATH, and gives the folder. */
export async function install(url, { name, os, cpu, libc, asked = ['dynaquant'] }) {
  const folder = join(workshop, 'machines', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'bin'), { recursive: true });
  symlinkSync(process.execPath, join(folder, 'bin', 'node'));
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const path = process.env.PATH.split(':').find((each) => existsSync(join(each, 'npm')));
  const npm = realpathSync(join(path, 'npm'));
  const platform = [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])];
  const options = [
    `--registry=${url}`,
    `--cache=${join(folder, 'cache')}`,
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
  ];
  await run(process.execPath, [npm, 'install', ...asked, ...platform, ...options], {
    cwd: folder,
    env: { ...process.env, PATH: join(folder, 'bin') },
  });
  return folder;
}
