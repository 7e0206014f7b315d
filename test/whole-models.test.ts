// The models of the examples, small and seeded as test/fixtures/make_models.py made them, beside PyTorch's numbers.
import { sentenceEncoder, type SentenceEncoder } from '../examples/sentence-encoder/model.js';
import { melSpectrum } from '../examples/speaker-encoder/mel.js';
import { speakerEncoder, SpeakerEncoder } from '../examples/speaker-encoder/model.js';
import { chunksOf, voiceDetector, VoiceDetector } from '../examples/voice-detector/model.js';
import { cat, manualSeed, nn, quantization, type Tensor } from '../src/index.js';
import { speak, voices } from '../examples/voice.js';
import { bytesOf, expectClose, golden } from './support.js';

const group = golden('models');
const caseOf = (kind: string): Record<string, string> => group.cases.find((c) => c.kind === kind);
const sizes = { words: 50, positions: 12, width: 32, inner: 64, heads: 4, layers: 2 };
const detectorSizes = { window: 256, width: 32, middle: 16 };
const speakerSizes = { bands: 8, width: 16, layers: 3 };
const pytorchs = {
  per_tensor: quantization.defaultDynamicQConfig,
  per_channel: quantization.perChannelDynamicQConfig,
  float16: quantization.float16DynamicQConfig,
};

const encoderClasses = [nn.Linear, nn.MultiheadAttention];

/** The state dict of a BERT, whose weights are drawn in the order in which PyTorch draws them. */
function bert(): nn.StateDict {
  const { words, positions, width, inner, layers } = sizes;
  const linear = (columns: number, rows: number) => new nn.Linear(columns, rows);
  const layer = (i: number): [string, nn.Module][] => {
    const parts: [string, nn.Module][] = [
      ...['query', 'key', 'value'].map((part): [string, nn.Module] => [
        `attention.self.${part}`,
        linear(width, width),
      ]),
      ['attention.output.dense', linear(width, width)],
      ['attention.output.LayerNorm', new nn.LayerNorm(width)],
      ['intermediate.dense', linear(width, inner)],
      ['output.dense', linear(inner, width)],
      ['output.LayerNorm', new nn.LayerNorm(width)],
    ];
    return parts.map(([name, module]) => [`encoder.layer.${i}.${name}`, module]);
  };
  const modules: [string, nn.Module][] = [
    ['embeddings.word_embeddings', new nn.Embedding(words, width)],
    ['embeddings.position_embeddings', new nn.Embedding(positions, width)],
    ['embeddings.token_type_embeddings', new nn.Embedding(2, width)],
    ['embeddings.LayerNorm', new nn.LayerNorm(width)],
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
  ];
  return new Map(
    modules.flatMap(([prefix, module]) =>
      Array.from(module.stateDict(), ([name, value]) => [`${prefix}.${name}`, value] as const),
    ),
  ) as nn.StateDict;
}

/** The mean of `|a - b|`. */
const distance = (a: Tensor, b: Tensor): number => a.sub(b).abs().mean().item();

function seeded<M>(seed: number, build: () => M): M {
  manualSeed(seed);
  return build();
}

describe.each([
  ['sentence', 1, encoderClasses, () => sentenceEncoder(bert(), sizes), 'words', forward],
  ['padded', 1, encoderClasses, () => sentenceEncoder(bert(), sizes), 'words', forward],
  ['voice', 2, [nn.LSTMCell], () => new VoiceDetector(detectorSizes), 'chunks', listen],
  ['speaker', 3, [nn.LSTM, nn.Linear], () => new SpeakerEncoder(speakerSizes), 'mels', forward],
] as const)('%s', (kind, seed, classes, build, inputs, run) => {
  const expected = caseOf(kind);
  const input = group.tensor(expected[inputs]!);
  const model = seeded<nn.Module>(seed, build).eval();
  const float = group.tensor(expected['float']!);

  test('float is PyTorch’s from the same seed', () => expectClose(run(model as never, input), float));
  test.each(Object.entries(pytorchs))('%s errs like PyTorch’s', (name, qconfig) => {
    const spec = new Map<quantization.ModuleClass, quantization.QConfig>(classes.map((c) => [c, qconfig]));
    const output = run(quantization.quantizeDynamic(model, spec) as never, input);
    const theirs = group.tensor(expected[name]!);
    // A last bit of a float layer may flip a rounding, which costs as much as a quantization.
    expect(distance(output, theirs)).toBeLessThan(name === 'float16' ? 2e-6 : 0.5 * distance(theirs, float));
  });
});

function forward(model: SentenceEncoder | SpeakerEncoder, x: Tensor): Tensor {
  return model.forward(x);
}
function listen(model: VoiceDetector, chunks: Tensor): Tensor {
  let state: [Tensor, Tensor] | undefined;
  return cat(
    Array.from({ length: chunks.size(0) }, (_, t) => {
      const [probabilities, next] = model.forward(chunks.select(0, t), state);
      state = next;
      return probabilities.unsqueeze(0);
    }),
  );
}

test('a sentence has one vector, whatever is beside it', () => {
  const model = seeded(1, () => sentenceEncoder(bert(), sizes));
  const words = group.tensor(caseOf('padded')['words']!);
  const together = model.forward(words);
  [9, 5, 2].forEach((length, i) => {
    expectClose(model.forward(words.slice(0, i, i + 1).slice(1, 0, length)), together.slice(0, i, i + 1));
  });
});

test('live streams of a voice detector give the bits of each sound alone', () => {
  const model = quantization.quantizeDynamic(
    seeded(2, () => new VoiceDetector(detectorSizes)).eval(),
    new Map([[nn.LSTMCell, quantization.bestDynamicQConfig]]),
  );
  const chunks = group.tensor(caseOf('voice')['chunks']!);
  const streams = new nn.Streams(model.lstm_cell);
  const ids = [streams.open(), streams.open()];
  const alone = [0, 1].map((i) =>
    listen(model, chunks.slice(1, i, i + 1))
      .flatten()
      .toArray(),
  );
  const live: number[][] = [[], []];
  for (let t = 0; t < chunks.size(0); t++) {
    const features = model.features(chunks.select(0, t));
    (model.probabilities(streams.step(ids, features)).toArray() as number[]).forEach((p, i) =>
      live[i]!.push(p),
    );
  }
  streams.dispose();
  expect(live).toEqual(alone);
});

test.each([
  ['voiceDetector', () => voiceDetector, () => new VoiceDetector(detectorSizes), detectorSizes],
  ['speakerEncoder', () => speakerEncoder, () => new SpeakerEncoder(speakerSizes), speakerSizes],
])('%s builds the model of a state dict', (_, load, build, sizes) => {
  const state = (build() as nn.Module).stateDict();
  const model = (load() as (state: nn.StateDict, sizes: object) => nn.Module)(state, sizes);
  const bytes = (each: nn.StateDict): string[] => Array.from(each, ([name, value]) => name + bytesOf(value));
  expect(bytes(model.stateDict())).toEqual(bytes(state));
  expect(model.training).toBe(false);
});

test('sentenceEncoder says what a state dict lacks', () => {
  const state = bert();
  state.delete('encoder.layer.1.output.dense.bias');
  expect(() => sentenceEncoder(state, sizes)).toThrow('encoder.layer.1.output.dense.bias is missing');
});

test('a sound becomes chunks, each after the end of the one before it', () => {
  const sounds = [0, 1].map((i) => Float32Array.from({ length: 1030 }, (_, t) => 10000 * i + t + 1));
  const chunks = chunksOf(sounds);
  expect(chunks.shape).toEqual([2, 2, 576]);
  const [first, second] = [chunks.select(0, 0).select(0, 1), chunks.select(0, 1).select(0, 1)];
  expect(first.toArray()).toEqual([...new Array<number>(64).fill(0), ...sounds[1]!.subarray(0, 512)]);
  expect(second.toArray()).toEqual([...sounds[1]!.subarray(448, 1024)]);
});

test('a tone has the power in mel bands that librosa gives it', () => {
  const tone = Float32Array.from(
    { length: 16000 },
    (_, t) => 0.5 * Math.sin((2 * Math.PI * 1000 * t) / 16000),
  );
  const mels = melSpectrum(tone);
  expect(mels.shape).toEqual([101, 40]);
  // librosa.feature.melspectrogram(y=tone, sr=16000, n_fft=400, hop_length=160, n_mels=40)[12:15, [50, 0]]
  const [middle, first] = [50, 0].map(
    (frame) => mels.select(0, frame).slice(0, 12, 15).toArray() as number[],
  );
  [22.10516, 26.129993, 0.782134].forEach((power, i) => expect(middle![i]).toBeCloseTo(power, 4));
  [9.712373, 10.034644, 1.614121].forEach((power, i) => expect(first![i]).toBeCloseTo(power, 4));
});

test('invented speech is the same for a seed, pauses, and is as loud as speech', () => {
  const sound = speak(voices[1]!, 2, 3);
  expect(speak(voices[1]!, 2, 3)).toEqual(sound);
  expect(sound).toHaveLength(32000);
  const power = sound.reduce((sum, x) => sum + x * x, 0) / sound.length;
  expect(10 * Math.log10(power)).toBeCloseTo(-30, 1);
  expect(sound.subarray(0, 4000).every((x) => Math.abs(x) < 0.001)).toBe(true);
});
