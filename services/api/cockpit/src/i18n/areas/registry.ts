/** Words of places, devices and the plan editor. `{x}` is filled in. */
export const REGISTRY = {} as const satisfies Record<string, readonly [zh: string, en: string]>
