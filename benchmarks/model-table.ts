// Whole models as a table, a row for each contender.
import type { ModelRow } from './run.js';
import { duels, number, percent, ratioText, spreadText, type Duel } from './summary.js';
import { trialName } from './trials.js';

const modelHead = [
  'call',
  'contender',
  'min µs',
  'median µs',
  'spread',
  'cosine',
  'we are ×',
  'best is ×',
  'outside products',
  'outside native',
];

/** Of what was timed. */
export function modelTable(rows: readonly ModelRow[]): { head: string[]; rows: string[][] } {
  const met = duels(rows);
  return {
    head: modelHead,
    rows: rows.flatMap((row) => {
      const { trial, contender, timing, cosine, profile } = row;
      if (timing === undefined) return [];
      const against = (fits: (duel: Duel<ModelRow>) => boolean): string => {
        const duel = met.find((each) => each.rival === row && fits(each));
        return duel === undefined ? '' : ratioText(duel.speedUp);
      };
      return [
        [
          trialName(trial),
          contender.name,
          number(timing.minimum),
          number(timing.median),
          spreadText(timing),
          cosine!.toFixed(5),
          against(({ ours }) => ours.contender.mode !== 'best'),
          against(({ ours }) => ours.contender.mode === 'best'),
          profile === undefined ? '' : percent(profile.outsideProducts),
          profile === undefined ? '' : percent(profile.outsideNative),
        ],
      ];
    }),
  };
}
