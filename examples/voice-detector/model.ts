import { nn, Tensor } from 'dynaquant';

const { pad, relu, sigmoid } = nn.functional;

/** Of Silero's detector: samples of a window of the spectrum, channels of the convolutions. */
export interface DetectorSizes {
  readonly window: number;
  readonly width: number;
  readonly middle: number;
}
export const silero: DetectorSizes = { window: 256, width: 128, middle: 64 };

/** The samples of a chunk at 16 kHz, and those before it that the detector sees again. */
export const chunkSize = 512;
export const contextSize = 64;

/** Silero's voice detector: a spectrum, four convolutions, an LSTM over time. */
export class VoiceDetector extends nn.Module {
  readonly stft_conv: nn.Conv1d;
  readonly conv1: nn.Conv1d;
  readonly conv2: nn.Conv1d;
  readonly conv3: nn.Conv1d;
  readonly conv4: nn.Conv1d;
  readonly lstm_cell: nn.LSTMCell;
  readonly final_conv: nn.Conv1d;

  constructor({ window, width, middle }: DetectorSizes = silero) {
    super();
    const bins = window / 2 + 1;
    this.stft_conv = new nn.Conv1d(1, 2 * bins, window, { stride: window / 2, bias: false });
    this.conv1 = new nn.Conv1d(bins, width, 3, { padding: 1 });
    this.conv2 = new nn.Conv1d(width, middle, 3, { stride: 2, padding: 1 });
    this.conv3 = new nn.Conv1d(middle, middle, 3, { stride: 2, padding: 1 });
    this.conv4 = new nn.Conv1d(middle, width, 3, { padding: 1 });
    this.lstm_cell = new nn.LSTMCell(width, width);
    this.final_conv = new nn.Conv1d(width, 1, 1);
  }

  /** What needs no state: chunks `(B, 576)`, each after 64 samples of its past, to features `(B, width)`. */
  features(chunks: Tensor): Tensor {
    const window = this.stft_conv.kernelSize[0]!;
    const bins = window / 2 + 1;
    const padded = pad(chunks, [0, window / 4], { mode: 'reflect' });
    const spectrum = this.stft_conv.forward(padded.unsqueeze(1));
    const real = spectrum.slice(1, 0, bins);
    const imaginary = spectrum.slice(1, bins);
    let x = real.mul(real).add(imaginary.mul(imaginary)).sqrt();
    for (const conv of [this.conv1, this.conv2, this.conv3, this.conv4]) x = relu(conv.forward(x));
    return x.squeeze(2);
  }

  /** The probabilities `(B)` of speech from the hidden states `(B, width)`. */
  probabilities(h: Tensor): Tensor {
    return sigmoid(this.final_conv.forward(relu(h).unsqueeze(2))).flatten();
  }

  /** One chunk `(B, 576)` of each of B sounds: the probabilities `(B)` of speech, and the next call's state. */
  forward(chunks: Tensor, state?: nn.LSTMState): [Tensor, [Tensor, Tensor]] {
    const [h, c] = this.lstm_cell.forward(this.features(chunks), state);
    return [this.probabilities(h), [h, c]];
  }
}

/** Sounds of one length as chunks, each after the end of the one before it (at first silence): `(T, B, 576)`. */
export function chunksOf(sounds: readonly Float32Array[]): Tensor {
  const steps = Math.floor(sounds[0]!.length / chunkSize);
  const size = contextSize + chunkSize;
  const out = new Float32Array(steps * sounds.length * size);
  for (let t = 0; t < steps; t++) {
    sounds.forEach((sound, i) => {
      const start = t * chunkSize - contextSize;
      const row = out.subarray((t * sounds.length + i) * size);
      row.set(sound.subarray(Math.max(0, start), start + size), Math.max(0, -start));
    });
  }
  return new Tensor(out, [steps, sounds.length, size]);
}

/** The detector of a state dict. */
export function voiceDetector(state: nn.StateDict, sizes?: DetectorSizes): VoiceDetector {
  const model = nn.utils.skipInit(VoiceDetector, sizes);
  model.loadStateDict(state);
  return model.eval();
}
