/** Words of the wall. `{x}` is filled in. */
export const WALL = {} as const satisfies Record<string, readonly [zh: string, en: string]>
