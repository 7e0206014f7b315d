import type { Run } from '../run.js';
import { number } from '../summary.js';
import { services } from './index.js';

export interface ServiceTable {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The services of a run, a row for each contender. */
export function serviceTables({ services: measured = {} }: Run): ServiceTable[] {
  return services.flatMap(({ name, title }): ServiceTable[] => {
    const rows = measured[name];
    if (rows === undefined) return [];
    const columns = [...new Set(rows.flatMap(({ figures = {} }) => Object.keys(figures)))];
    const body = rows.map(({ contender, figures, skip }) => [
      skip === undefined ? contender : `${contender}: not measured, ${skip}`,
      ...columns.map((column) => (figures?.[column] === undefined ? '' : number(figures[column]))),
    ]);
    return [{ title, head: [name, ...columns], rows: body }];
  });
}
