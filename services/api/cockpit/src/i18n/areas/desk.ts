/** Words of the desk: silences, rules, rosters, figures. `{x}` is filled in. */
export const DESK = {} as const satisfies Record<string, readonly [zh: string, en: string]>
