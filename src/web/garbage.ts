// garbage.ts of browsers, which collect when they like.

export function collectIfExposed(): void {}
