import {
  testDynamicLayer,
  testEveryIsa,
  testLargeBatches,
  testFewUnits,
  testFloat16,
  testHostile,
  testModes,
  testPerRow,
  testRoundTrip,
} from './recurrent.js';

testDynamicLayer('GRU', { cases: 26 });
testModes('GRU', 4);
testFloat16('GRU', 3);
testEveryIsa('GRU');
testLargeBatches('GRU');
testFewUnits('GRU');
testPerRow('GRU');
testRoundTrip('GRU', { num_layers: 2, bidirectional: true, batch_first: true });
testRoundTrip('GRU', { bias: false, dropout: 0.25, num_layers: 3 });
testHostile('GRU');
