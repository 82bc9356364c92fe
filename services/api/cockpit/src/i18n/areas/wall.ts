/** Words of the wall and of the design system. `{x}` is filled in. */
export const WALL = {
  ui_loading: ['载入中', 'Loading'],
  ui_empty: ['没有内容', 'Nothing here'],
} as const satisfies Record<string, readonly [zh: string, en: string]>
