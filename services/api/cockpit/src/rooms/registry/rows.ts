/** Which rows of a long list are on the screen: the others are space. */
export interface Window {
  from: number
  to: number
  before: number
  after: number
}

export function rowsShown(count: number, height: number, top: number, screen: number, spare = 8): Window {
  const from = Math.max(0, Math.min(count, Math.floor(top / height) - spare))
  const to = Math.min(count, Math.ceil((top + screen) / height) + spare)
  return { from, to, before: from * height, after: (count - to) * height }
}
