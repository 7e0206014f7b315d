// A page in headless Chromium, driven over its DevTools protocol.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';

const binary = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync);

/** Why tests that need a browser are skipped; false if they are not. With DYNAQUANT_REQUIRE_ALL they fail instead. */
export const withoutChromium: string | false =
  process.env.DYNAQUANT_REQUIRE_ALL === undefined && binary === undefined ? 'there is no chromium' : false;

export interface Page {
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>;
  /** Waits until an expression is true. */
  until(expression: string): Promise<void>;
  /** Types into what has the focus. */
  type(text: string): Promise<void>;
  press(key: string): Promise<void>;
  close(): Promise<void>;
}

export async function openPage(url: string): Promise<Page> {
  if (binary === undefined) throw new Error('chromium should be installed');
  const profile = mkdtempSync(join(tmpdir(), 'dynaquant-chromium-'));
  const options = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-port=0'];
  const browser = spawn(binary, [...options, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: 'ignore',
    detached: true,
  });
  const ended = once(browser, 'exit');
  const close = async (): Promise<void> => {
    // All of its processes, because one that lives on writes into the profile.
    if (browser.exitCode === null) process.kill(-browser.pid!, 'SIGKILL');
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    return { ...(await drive(await debuggerOf(profile), url)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The address of the page's debugger. */
async function debuggerOf(profile: string): Promise<string> {
  const file = join(profile, 'DevToolsActivePort');
  for (let waited = 0; waited < 30_000; waited += 50) {
    await sleep(50);
    // Chromium creates the file before it writes the port and a line end into it.
    const port = existsSync(file) ? /^(\d+)\n/.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
    if (port === undefined) continue;
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
      type: string;
      webSocketDebuggerUrl: string;
    }[];
    const page = targets.find(({ type }) => type === 'page');
    if (page !== undefined) return page.webSocketDebuggerUrl;
  }
  throw new Error('chromium should start within 30 s');
}

async function drive(address: string, url: string): Promise<Omit<Page, 'close'>> {
  const socket = new WebSocket(address);
  await once(socket, 'open');
  const pending = new Map<number, (result: Record<string, unknown>) => void>();
  socket.on('message', (data: Buffer) => {
    const { id, result = {} } = JSON.parse(data.toString()) as { id?: number; result?: object };
    if (id === undefined) return; // an event
    pending.get(id)!({ ...result });
    pending.delete(id);
  });
  let last = 0;
  const call = (method: string, params: object): Promise<Record<string, unknown>> => {
    const id = ++last;
    socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`chromium should answer ${method} within 10 s`)),
        10_000,
      );
      pending.set(id, (result) => (clearTimeout(late), resolve(result)));
    });
  };
  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, returnByValue: true });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  };
  const until = async (expression: string): Promise<void> => {
    for (let waited = 0; !(await evaluate<boolean>(expression)); waited += 20) {
      if (waited > 20_000)
        throw new Error(
          `${expression} should be true, but the page has: ${await evaluate('document.body.innerText')}`,
        );
      await sleep(20);
    }
  };
  // Not from the command line, because a page that is just about to come loses questions.
  await call('Page.navigate', { url });
  await until("document.readyState === 'complete'");
  return {
    evaluate,
    until,
    async type(text) {
      for (const key of text)
        for (const type of ['keyDown', 'keyUp'])
          await call('Input.dispatchKeyEvent', { type, ...(type === 'keyDown' ? { text: key } : {}), key });
    },
    async press(key) {
      for (const type of ['keyDown', 'keyUp']) await call('Input.dispatchKeyEvent', { type, key, code: key });
    },
  };
}
