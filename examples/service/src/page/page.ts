// The page in the browser that writes text as one types, with the first model that knows characters: GET /
import type { FastifyInstance } from 'fastify';
import { readFileSync } from 'node:fs';
import { RequestError } from '../errors.js';
import type { Model } from '../models.js';

export interface PageOptions {
  readonly models: readonly Model[];
}

/** A Fastify plugin: `await app.register(page, { models })`. It needs the WebSocket of `streamSockets`. */
export async function page(app: FastifyInstance, { models }: PageOptions): Promise<void> {
  const model = models.find(({ vocabulary }) => vocabulary !== undefined);
  const serve = (path: string, type: string, content: string | Buffer): void => {
    app.get(path, (_request, reply) => {
      if (model === undefined)
        throw new RequestError(
          404,
          'the page needs a model with a vocabulary, such as char-lm, but none is served',
        );
      return reply.type(type).send(content);
    });
  };
  serve('/', 'text/html', source('index.html'));
  serve('/page/page.js', 'text/javascript', source('page.js'));
  serve(
    '/page/model.json',
    'application/json',
    JSON.stringify({ name: model?.name, vocabulary: model?.vocabulary }),
  );
}

/** The compiler leaves these files where they are: this is build/src/page. */
function source(file: string): Buffer {
  return readFileSync(new URL(`../../../src/page/${file}`, import.meta.url));
}
