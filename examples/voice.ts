// Invented speech, so that the examples need no recordings: syllables of a consonant and a vowel, from pulses and noise
// through resonators (Klatt 1980, "Software for a cascade/parallel formant synthesizer"). Nobody would understand it,
// but a voice detector calls it speech, and a speaker encoder tells the voices apart.
import { Generator, rand, randn } from 'dynaquant';

/** Samples a second. */
export const rate = 16000;

/** What makes a voice. */
export interface Voice {
  /** Pulses a second. */
  pitch: number;
  /** By what the resonances of an average tract are multiplied: about 0.9 to 1.2. */
  tract: number;
}

/** Four voices, low to high. */
export const voices: readonly Voice[] = [
  { pitch: 95, tract: 0.92 },
  { pitch: 130, tract: 1 },
  { pitch: 180, tract: 1.08 },
  { pitch: 230, tract: 1.18 },
];

/** Resonances in Hz of a few vowels (Peterson and Barney 1952), and of consonants that resonate. */
const vowels = [
  [730, 1090, 2440, 3400],
  [530, 1840, 2480, 3400],
  [270, 2290, 3010, 3500],
  [570, 840, 2410, 3400],
  [300, 870, 2240, 3400],
  [660, 1720, 2410, 3400],
] as const;
const nasal = [250, 1000, 2200, 3300] as const;
const bandwidths = [60, 90, 150, 200] as const;

/** Some sound: its sources' loudness and its resonances, for some samples. */
interface Phone {
  readonly samples: number;
  readonly pulses: number;
  readonly noise: number;
  readonly resonances: readonly number[];
}

/** `seconds` of phrases with pauses between them. The same seed gives the same samples. */
export function speak({ pitch, tract }: Voice, seconds: number, seed: number): Float32Array {
  const out = new Float32Array(Math.round(seconds * rate));
  const generator = new Generator().manualSeed(seed);
  const noise = randn([out.length], { generator }).data;
  const random = (): number => rand([], { generator }).item();
  const filters = bandwidths.map(() => new Resonator());
  const now = { pulses: 0, noise: 0, resonances: [...vowels[0]] as number[] };
  let phase = 0;
  let at = 0;
  let before = 0;
  for (const phone of phones(random)) {
    const end = Math.min(out.length, at + phone.samples);
    for (; at < end; at++) {
      // Everything glides to where it should be within some milliseconds.
      now.pulses += (phone.pulses - now.pulses) / 160;
      now.noise += (phone.noise - now.noise) / 80;
      const swing = 1 + 0.12 * Math.sin((2 * Math.PI * at) / (0.9 * rate)) + 0.02 * Number(noise[at % 97]);
      phase = (phase + (pitch * swing) / rate) % 1;
      let x = now.pulses * (phase < 0.6 ? phase / 0.6 - 0.3 : -0.3) + now.noise * Number(noise[at]);
      for (let i = 0; i < filters.length; i++) {
        now.resonances[i]! += (phone.resonances[i]! - now.resonances[i]!) / 240;
        x = filters[i]!.pass(x, now.resonances[i]! * tract, bandwidths[i]!);
      }
      out[at] = x - 0.7 * before; // lips radiate high frequencies better
      before = x;
    }
    if (at === out.length) break;
  }
  return asPcm(out);
}

/** Phrases of four to eight syllables, without end. */
function* phones(random: () => number): IterableIterator<Phone> {
  const among = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const samples = (from: number, to: number): number => Math.round((from + (to - from) * random()) * rate);
  for (;;) {
    const silence = { pulses: 0, noise: 0, resonances: vowels[0] };
    yield { ...silence, samples: samples(0.3, 0.9) };
    for (let i = 4 + Math.floor(5 * random()); i > 0; i--) {
      const vowel = among(vowels);
      const kind = random();
      if (kind < 0.3)
        yield { samples: samples(0.06, 0.11), pulses: 0, noise: 0.03, resonances: [2600, 3600, 4800, 5600] };
      else if (kind < 0.6) yield { samples: samples(0.05, 0.09), pulses: 0.2, noise: 0, resonances: nasal };
      else yield { ...silence, samples: samples(0.04, 0.07), resonances: vowel };
      yield { samples: samples(0.1, 0.24), pulses: 0.6 + 0.4 * random(), noise: 0.005, resonances: vowel };
    }
  }
}

/** `y[n] = a x[n] + b y[n - 1] + c y[n - 2]` */
class Resonator {
  private before = 0;
  private last = 0;
  pass(x: number, frequency: number, bandwidth: number): number {
    const radius = Math.exp((-Math.PI * bandwidth) / rate);
    const b = 2 * radius * Math.cos((2 * Math.PI * frequency) / rate);
    const c = -radius * radius;
    const y = (1 - b - c) * x + b * this.last + c * this.before;
    this.before = this.last;
    this.last = y;
    return y;
  }
}

/** At the loudness of speech (30 dB below full scale), in the 16 bits that a microphone gives. */
function asPcm(samples: Float32Array): Float32Array {
  const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
  const gain = (10 ** (-30 / 20) / Math.sqrt(power)) * 32768;
  return samples.map((x) => Math.max(-32768, Math.min(32767, Math.round(x * gain))) / 32768);
}
