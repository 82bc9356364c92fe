/** Which page of the phone is open: the path under /m is the whole truth, so a reload or a link opens the same. */
import { computed, ref } from 'vue'

export type Route =
  | { name: 'home' }
  | { name: 'order'; id: string }
  | { name: 'login' }
  | { name: 'report' }
  | { name: 'reports' }
  | { name: 'follow'; id: string }

export function routeOf(path: string): Route {
  const [first = '', second = ''] = path
    .replace(/^\/m\/?/, '')
    .split('/')
    .map(decodeURIComponent)
  if (first === 'o' && second) return { name: 'order', id: second }
  if (first === 'r' && second) return { name: 'follow', id: second }
  if (first === 'login' || first === 'report' || first === 'reports') return { name: first }
  return { name: 'home' }
}

const path = ref(typeof location === 'undefined' ? '/m/' : location.pathname)
export const route = computed(() => routeOf(path.value))

/** How deep in this tab's own history: at 0 there is no page of ours to go back to. */
let depth = 0

export function go(to: string, replace = false): void {
  if (replace) history.replaceState({ depth }, '', to)
  else history.pushState({ depth: (depth += 1) }, '', to)
  path.value = new URL(to, location.origin).pathname
  scrollTo(0, 0)
}

export function back(): void {
  if (depth > 0) history.back()
  else go('/m/', true)
}

if (typeof addEventListener !== 'undefined') {
  addEventListener('popstate', (event) => {
    depth = (event.state as { depth?: number } | null)?.depth ?? 0
    path.value = location.pathname
  })
}
