/** How this screen is used: wall or desk, dark or light; chosen by role and width, then remembered. */
import { ref, watchEffect } from 'vue'

export type Theme = 'dark' | 'light'
export type View = 'wall' | 'desk'

const query = new URLSearchParams(location.search)

function remembered<T extends string>(name: string, allowed: readonly T[]): T | null {
  const value = query.get(name) ?? localStorage.getItem(`linhub.${name}`)
  return allowed.find((one) => one === value) ?? null
}

export const theme = ref<Theme>(remembered('theme', ['dark', 'light']) ?? 'dark')
export const view = ref<View>(remembered('view', ['wall', 'desk']) ?? 'desk')

/** Who watches gets the dark wall; who works on orders gets the light desk — until somebody chooses. */
export function suit(role: string): void {
  const watches = role === 'street' || role === 'platform' || role === 'display'
  view.value = remembered('view', ['wall', 'desk']) ?? (watches ? 'wall' : 'desk')
  theme.value = remembered('theme', ['dark', 'light']) ?? (view.value === 'wall' ? 'dark' : 'light')
}

export function setTheme(value: Theme): void {
  theme.value = value
  localStorage.setItem('linhub.theme', value)
}

export function setView(value: View): void {
  view.value = value
  localStorage.setItem('linhub.view', value)
}

watchEffect(() => {
  document.documentElement.dataset.theme = theme.value
  document.documentElement.dataset.view = view.value
})
