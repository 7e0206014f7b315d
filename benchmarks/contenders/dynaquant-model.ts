import { Skip, type ModelSetup } from './subject.js';

export const setup: ModelSetup = () => {
  throw new Skip('not written yet');
};
