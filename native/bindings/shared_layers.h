// SPDX-License-Identifier: MIT
// Layers by number, so that another environment of the process can take one up.
#ifndef DYNAQUANT_BINDINGS_SHARED_LAYERS_H_
#define DYNAQUANT_BINDINGS_SHARED_LAYERS_H_

#include <cstdint>
#include <memory>

namespace dynaquant {

// A number under which the layer can be had while anybody holds it: another one at each call.
// Throws std::bad_alloc.
std::uint64_t share_layer(std::shared_ptr<const void> layer, const void* kind);

// The layer of this number and kind; null if there is none, or nobody holds it any more.
std::shared_ptr<const void> shared_layer(std::uint64_t number, const void* kind);

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_SHARED_LAYERS_H_
