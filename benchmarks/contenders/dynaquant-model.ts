import { join } from 'node:path';

import { load, nn, quantization, Tensor } from 'dynaquant';

import { packageRoot, packageVersion } from '../run.js';
import type { ModelTrial } from '../trials.js';
import { qconfigs } from './dynaquant.js';
import type { ModelSetup } from './subject.js';

/** What the examples have of the models. They are a project of their own, which TypeScript does not see from here. */
interface VoiceDetector extends nn.Module {
  features(chunks: Tensor): Tensor;
  probabilities(h: Tensor): Tensor;
  forward(chunks: Tensor, state?: nn.LSTMState): [Tensor, nn.LSTMState];
}
interface Examples {
  'sentence-encoder': { sentenceEncoder(state: nn.StateDict): nn.Module };
  'voice-detector': { voiceDetector(state: nn.StateDict): VoiceDetector };
  'speaker-encoder': { speakerEncoder(state: nn.StateDict): nn.Module };
}

function example<Name extends keyof Examples>(name: Name): Examples[Name] {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- has no types here
  return require(join(packageRoot, 'build', 'examples', name, 'model.js')) as Examples[Name];
}

/** A convolution over each frame's spectrum, then two layers of LSTM over the frames: logits of three classes. */
class BeatNet extends nn.Module {
  readonly conv1 = new nn.Conv1d(1, 2, 10);
  readonly linear0 = new nn.Linear(262, 150);
  readonly lstm = new nn.LSTM(150, 150, { numLayers: 2 });
  readonly linear = new nn.Linear(150, 3);

  /** Of frames `(T, 272)`: logits `(T, 3)`, and the next call's state. */
  forward(frames: Tensor, state?: nn.LSTMState): [Tensor, nn.LSTMState] {
    const { maxPool1d, relu } = nn.functional;
    const x = maxPool1d(relu(this.conv1.forward(frames.unsqueeze(1))), 2);
    const [output, next] = this.lstm.forward(this.linear0.forward(x.flatten(1)), state);
    return [this.linear.forward(output), next];
  }
}

/** The voice detector on all chunks of one sound: its cell as a layer over time. */
class Recording extends nn.Module {
  readonly lstm = new nn.LSTM(128, 128);

  constructor(readonly detector: VoiceDetector) {
    super();
    const cell = (detector as unknown as { lstm_cell: nn.LSTMCell }).lstm_cell.stateDict();
    this.lstm.loadStateDict(new Map(Array.from(cell, ([name, value]) => [`${name}_l0`, value])));
  }
  forward(chunks: Tensor): Tensor {
    const [h] = this.lstm.forward(this.detector.features(chunks));
    return this.detector.probabilities(h);
  }
}

/** The float model of a trial. */
async function floatModel({ kind, steps }: ModelTrial, weights: string): Promise<nn.Module> {
  const state = await load(weights);
  switch (kind) {
    case 'minilm':
      return example('sentence-encoder').sentenceEncoder(state);
    case 'resemblyzer':
      return example('speaker-encoder').speakerEncoder(state.get('model_state') as unknown as nn.StateDict);
    case 'silero': {
      const detector = example('voice-detector').voiceDetector(state);
      return steps === 1 ? detector : new Recording(detector).eval();
    }
    case 'beatnet': {
      const model = new BeatNet();
      model.loadStateDict(state);
      return model.eval();
    }
  }
}

/** The default as a user calls it; another mode for the same modules. */
function quantize(model: nn.Module, qconfig: quantization.QConfig): nn.Module {
  if (qconfig === quantization.defaultDynamicQConfig) return quantization.quantizeDynamic(model);
  const types: readonly unknown[] = [nn.Linear, nn.MultiheadAttention, nn.LSTM, nn.LSTMCell];
  const named = [...model.namedModules()].filter(([, module]) => types.includes(module.constructor));
  return quantization.quantizeDynamic(model, new Map(named.map(([name]) => [name, qconfig])));
}

export const setup: ModelSetup = async ({ trial, contender, tensors: shapes, model: files }, tensors) => {
  const float = await floatModel(trial, files.weights);
  const model = contender.mode === undefined ? float : quantize(float, qconfigs[contender.mode]);
  const [[, shape]] = shapes as [[string, number[]]];
  const data = tensors.get('x')!;
  const x = new Tensor(trial.kind === 'minilm' ? Int32Array.from(data) : data, shape);
  let state: nn.LSTMState | undefined;
  return {
    version: packageVersion(),
    asynchronous: false,
    call: () => {
      const result = model.forward(x, state) as Tensor | [Tensor, nn.LSTMState];
      if (!Array.isArray(result)) return result;
      // A stream's state goes from call to call.
      if (files.state !== undefined) state = result[1];
      return result[0];
    },
    output: (result) => (result as Tensor).data as Float32Array,
  };
};
