/** What the address of a page says beside its room: which order is asked for, and how this screen was opened. */

/** How a screen was opened goes with it from room to room; everything else belongs to one place. */
const KEPT = ['community', 'view', 'theme', 'lang', 'stale_s'] as const
const ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i

/** The order of `/?order=<id>`; null where none is named, or what is named cannot be one. */
export function orderAsked(search: string): string | null {
  const id = new URLSearchParams(search).get('order')
  return id && ID.test(id) ? id : null
}

/** The address of `path` (with a query of its own, perhaps) for a page that was opened with `search`. */
export function addressOf(path: string, search: string): string {
  const [name = '/', own] = path.split('?')
  const query = new URLSearchParams(own)
  const before = new URLSearchParams(search)
  for (const key of KEPT) {
    const value = before.get(key)
    if (value !== null && !query.has(key)) query.set(key, value)
  }
  return query.size > 0 ? `${name}?${query}` : name
}

/** The community that an address asks for; null where it names none. */
export function communityAsked(search: string): string | null {
  return new URLSearchParams(search).get('community') || null
}

/** Which community is shown: an account's own; of several, the one that is asked for, else the first. */
export function communityShown(
  asked: string | null,
  own: string | null,
  within: readonly { id: string }[],
): string | null {
  if (own !== null) return own
  return within.find((one) => one.id === asked)?.id ?? within[0]?.id ?? null
}

const BACK = 'linhub.back'

/** What is kept of where somebody was while they log in again: a path of this page and its query, and nothing else. */
interface Store {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** Before the login page takes the place of a page; `/` needs no remembering. */
export function rememberPlace(path: string, search: string, store: Store = sessionStorage): void {
  if (path !== '/' && path !== '/login' && path !== '/tv') store.setItem(BACK, path + search)
}

export function forgetPlace(store: Store = sessionStorage): void {
  store.removeItem(BACK)
}

/** Where to go on after a login: taken once; `/` where nothing was remembered. */
export function takePlace(store: Store = sessionStorage): string {
  const place = store.getItem(BACK)
  store.removeItem(BACK)
  return place !== null && /^\/(?![/\\])/.test(place) ? place : '/'
}
