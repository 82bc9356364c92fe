/** Words of curves, exports, facilities, replay. `{x}` is filled in. */
export const DATA = {} as const satisfies Record<string, readonly [zh: string, en: string]>
