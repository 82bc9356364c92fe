/** Words of people, consents, elders. `{x}` is filled in. */
export const PEOPLE = {} as const satisfies Record<string, readonly [zh: string, en: string]>
