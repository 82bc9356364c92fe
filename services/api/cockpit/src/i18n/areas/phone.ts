/** Words of the phone page. `{x}` is filled in. */
export const PHONE = {} as const satisfies Record<string, readonly [zh: string, en: string]>
