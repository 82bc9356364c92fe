/** Words of signing in, sessions, accounts. `{x}` is filled in. */
export const ACCOUNT = {} as const satisfies Record<string, readonly [zh: string, en: string]>
