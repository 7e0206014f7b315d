// The page in the browser that writes text as one types: GET /
import type { FastifyInstance } from 'fastify';

/** A Fastify plugin: `await app.register(page)`. */
export async function page(_app: FastifyInstance): Promise<void> {}
