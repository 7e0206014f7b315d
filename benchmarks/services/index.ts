import type { Facets } from '../trials.js';
import { coldStart } from './cold-start.js';
import { liveStreams } from './live-streams.js';
import { memory } from './memory.js';
import type { Service } from './service.js';

export const services: readonly Service[] = [coldStart, liveStreams, memory];

export function serviceFacets({ name }: Service): Facets {
  return { service: name };
}
