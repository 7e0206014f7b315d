let skipping = false;

/** Whether parameters are being made whose first values nobody will see. */
export function initSkipped(): boolean {
  return skipping;
}

/**
 * Makes a module whose parameters will be given from elsewhere, as PyTorch's `torch.nn.utils.skip_init`: nothing is
 * filled in and no random numbers are drawn.
 */
export function skipInit<M>(build: () => M): M {
  const before = skipping;
  skipping = true;
  try {
    return build();
  } finally {
    skipping = before;
  }
}
