import { loadSync, modelFromStateDict, Tensor, type nn } from 'dynaquant';

const { model } = modelFromStateDict(loadSync(process.argv[2]!));
const x = new Tensor(new Float32Array(512).fill(0.5), [1, 1, 512]);
const [y] = model.forward(x) as [Tensor, nn.LSTMState];
if (!(Math.abs(y.data[0] as number) < 1)) throw new Error('no answer');
if (process.argv[3] === 'memory') process.stdout.write(String(process.memoryUsage.rss()));
