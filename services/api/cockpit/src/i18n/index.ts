/** Language of the page: Chinese first, English by switch, remembered on this machine. */
import { computed, ref, watchEffect } from 'vue'
import type { Label } from '../api/types'
import type { Word } from './words'
import { WORDS } from './words'

export type Locale = 'zh' | 'en'

const KEY = 'linhub.locale'

export const locale = ref<Locale>(initial())

function initial(): Locale {
  if (typeof localStorage === 'undefined') return 'zh'
  const asked = new URLSearchParams(location.search).get('lang') ?? localStorage.getItem(KEY)
  return asked === 'en' ? 'en' : 'zh'
}

export function setLocale(value: Locale): void {
  locale.value = value
  localStorage.setItem(KEY, value)
}

if (typeof document !== 'undefined') {
  watchEffect(() => {
    document.documentElement.lang = locale.value === 'zh' ? 'zh-CN' : 'en'
  })
}

export function t(word: Word, fill: Record<string, string | number> = {}): string {
  const text: string = WORDS[word][locale.value === 'zh' ? 0 : 1]
  return text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => (name in fill ? String(fill[name]) : whole))
}

/** A word that something of the API is called by, such as `move_` + its name; a name this page does not know stands as it is. */
export function named(prefix: string, name: string): string {
  const word = `${prefix}${name}`
  return Object.hasOwn(WORDS, word) ? t(word as Word) : name
}

export function say(label: Label | null | undefined): string {
  return label ? label[locale.value] || label.zh || label.en : ''
}

export const intlLocale = computed(() => (locale.value === 'zh' ? 'zh-CN' : 'en-GB'))
