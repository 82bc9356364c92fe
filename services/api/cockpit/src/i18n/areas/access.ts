/** Words of keys, screens, audit. `{x}` is filled in. */
export const ACCESS = {} as const satisfies Record<string, readonly [zh: string, en: string]>
