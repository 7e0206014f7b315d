// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_STATUS_H_
#define DYNAQUANT_ENGINE_STATUS_H_

namespace dynaquant {

// Why a forward gave no result. TypeScript turns it into the sentence a user reads.
enum class Status : int {
  kOk = 0,
  kInputNotFinite = 1,
  kHiddenNotFinite = 2,
  kCellNotFinite = 3,
  kOverflow = 4,  // finite inputs, but an output beyond float32
  kStopped = 5,   // nobody wants the result any more: see Team::stopped()
  kNoMemory = 6,  // there is no memory for what the call needs meanwhile
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_STATUS_H_
