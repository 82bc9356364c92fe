/** Short words about what just happened: said once, gone by themselves; a failure stays until it was read. */
import { shallowRef } from 'vue'

export interface Toast {
  id: number
  text: string
  tone: 'done' | 'failed'
}

const SHOWN_MS = 5000
const MOST = 4

export const toasts = shallowRef<readonly Toast[]>([])
let last = 0

export function toast(text: string, tone: Toast['tone'] = 'done'): number {
  const id = ++last
  toasts.value = [...toasts.value, { id, text, tone }].slice(-MOST)
  if (tone === 'done') setTimeout(() => untoast(id), SHOWN_MS)
  return id
}

export function untoast(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id)
}
