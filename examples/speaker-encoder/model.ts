import { nn, type Tensor } from 'dynaquant';

const { relu } = nn.functional;

/** Of Resemblyzer: bands of the spectrum, units of each layer, layers. */
export interface SpeakerSizes {
  readonly bands: number;
  readonly width: number;
  readonly layers: number;
}
export const resemblyzer: SpeakerSizes = { bands: 40, width: 256, layers: 3 };

/** Resemblyzer's encoder of voices: three LSTM layers and a Linear. */
export class SpeakerEncoder extends nn.Module {
  readonly lstm: nn.LSTM;
  readonly linear: nn.Linear;

  constructor({ bands, width, layers }: SpeakerSizes = resemblyzer) {
    super();
    this.lstm = new nn.LSTM(bands, width, { numLayers: layers, batchFirst: true });
    this.linear = new nn.Linear(width, width);
  }

  /** Turns mel spectra `(B, frames, bands)` into vectors `(B, width)` of length 1. */
  forward(mels: Tensor): Tensor {
    const [, [h]] = this.lstm.forward(mels);
    const raw = relu(this.linear.forward(h.select(0, -1)));
    return raw.div(raw.norm(2, 1, true));
  }
}

/** The encoder of a state dict, without what only its training needs. */
export function speakerEncoder(state: nn.StateDict, sizes?: SpeakerSizes): SpeakerEncoder {
  const model = nn.utils.skipInit(SpeakerEncoder, sizes);
  const own = new Set(model.stateDict().keys());
  model.loadStateDict(new Map([...state].filter(([name]) => own.has(name))));
  return model.eval();
}
